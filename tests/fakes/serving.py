"""What every server here needs: connections that stay open, answers that wait for no full packet, a quiet end."""

import socket
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

_PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01


class LocalServer(ThreadingHTTPServer):
    """Serves this machine on a port of its own choice, each connection in a thread."""

    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int) -> None:
        self._open: dict[socket.socket, Thread] = {}
        super().__init__(("127.0.0.1", port), handler)

    def serve(self) -> None:
        """Answer until `shutdown`, which returns soon."""
        self.serve_forever(poll_interval=_POLL_SECONDS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        self._open[request] = thread = Thread(target=self.process_request_thread, args=arguments, daemon=True)
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening and end what is open, so that no thread stays behind with it."""
        super().server_close()
        for connection, thread in tuple(self._open.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_PATIENCE_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that hang up: tests kill them."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers; what they mean is for others to say."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes, *, length: int | None = None) -> None:
        """Answer; `length` promises more or less than the body has."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
