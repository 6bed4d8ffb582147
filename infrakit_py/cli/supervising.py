"""What a controller tells systemd, if that has started it: that it is ready, that it turns, that it stops.

The protocol is a datagram: see sd_notify(3). The libraries for it are no longer kept, or need systemd's own headers.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
TURNS: Final = "WATCHDOG=1"
_SOCKET: Final = "NOTIFY_SOCKET"


def tell_supervisor(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell a state to whoever supervises this process. Nothing happens where nobody does, or it does not listen."""
    address = environment.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        notify.sendall(state.encode())
