"""Calls to an etcd cluster: unary ones only, each at the member that answered last, or else at the next one.

A call that failed may have been carried out, or may yet be. All that is said here is safe to say twice: transactions
compare, leases end by themselves.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from infrakit_py.errors import PluginError, StoreError
from infrakit_py.model.controller import EtcdAddress
from infrakit_py.stores.etcd_wire import Answer, Compare, Op, read_answer

if TYPE_CHECKING:
    from etcd3gw.client import Etcd3Client

_API: Final = "/v3/"
_NOT_FOUND: Final = 5
_EXHAUSTED: Final = 8
_UNAUTHENTICATED: Final = 16
_PASSING: Final = (1, 4, 14)
"""gRPC's cancelled, deadline exceeded and unavailable: another member may answer."""
_BUSY: Final = "too many requests"
_LOGIN_AGAIN: Final = ("invalid auth token", "revision of auth store is old", "user name is empty")
_TLS: Final = ("ssl", "tls", "certificate")
_TLS_HINT: Final = "check ca, cert and key, and that the endpoint's name is in etcd's certificate"
_MAJORITY_HINT: Final = "a majority of its members must be running, and reach one another"
_LOGIN_HINT: Final = "check username and password"
_HINTS: Final = {
    7: "grant the user reading and writing of all keys under the prefix",
    _EXHAUSTED: "etcd is full: compact, defragment and disarm it (etcdctl), and set --auto-compaction-retention",
    9: "leave username and password out: etcd's authentication is not enabled",
    _UNAUTHENTICATED: _LOGIN_HINT,
}
_SAID_OF_LOGIN: Final = ("user name is empty", "authentication failed")


class EtcdRefused(StoreError):
    """etcd answered, and said no. `code` is gRPC's."""

    def __init__(self, message: str, code: int) -> None:
        is_login = any(text in message for text in _SAID_OF_LOGIN)
        super().__init__(message, hint=_LOGIN_HINT if is_login else _HINTS.get(code))
        self.code = code

    @property
    def is_not_found(self) -> bool:
        """Tell whether a lease is not there, or not any more."""
        return self.code == _NOT_FOUND


class _NoAnswerError(Exception):
    """A member did not answer, or has nobody to ask: the next one may."""


class EtcdCalls:
    """An etcd cluster as it is called. Safe for threads: each call has a session for itself."""

    def __init__(self, address: EtcdAddress, *, timeout_seconds: float) -> None:
        """Ask nobody yet. PluginError where etcd's client is not installed, StoreError for what is no endpoint."""
        _require_client()
        self._address = address
        self._timeout = timeout_seconds
        self._endpoints = tuple(_split(endpoint) for endpoint in address.endpoints)
        if not self._endpoints:
            raise StoreError("etcd: no endpoint", hint="name at least one, such as http://127.0.0.1:2379")
        self._at = 0
        self._idle: defaultdict[int, list[Etcd3Client]] = defaultdict(list)
        self._lock = Lock()
        self._login = Lock()
        self._token = ""

    @property
    def where(self) -> str:
        """The members, for people."""
        return ", ".join(f"{host}:{port}" for _, host, port in self._endpoints)

    def close(self) -> None:
        """End the connections. What is asked later makes new ones."""
        with self._lock:
            idle, self._idle = self._idle, defaultdict(list)
        for clients in idle.values():
            for client in clients:
                client.session.close()

    def commit(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> Answer:
        """Carry out one transaction and return what became of it.

        StoreError where nobody answers: it may have been carried out then, or may be later. One that has no operation
        at all is answered from what one member happens to know, so give one.
        """
        body = {"compare": list(compare), "success": list(success), "failure": list(failure)}
        answer = self.post("/kv/txn", body)
        try:
            return read_answer(answer)
        except (KeyError, ValueError, TypeError) as exc:
            raise StoreError(f"etcd at {self.where}: no answer to a transaction: {exc!r}") from exc

    def look(self, *ranges: Op) -> Answer:
        """Return what is there, all as of one moment, and of no earlier one than that of the call."""
        return self.commit((), ranges)

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask, one member after another. StoreError where none answers, EtcdRefused where one says no."""
        reason: Exception | None = None
        for _ in range(len(self._endpoints) + 1):  # one more: a connection that was kept may have been closed
            at = self._at
            try:
                return self._ask(at, path, body)
            except _NoAnswerError as exc:
                reason = exc
                self._at = (at + 1) % len(self._endpoints)
        tls = any(word in str(reason).lower() for word in _TLS)
        raise StoreError(
            f"etcd at {self.where} does not answer: {reason}", hint=_TLS_HINT if tls else _MAJORITY_HINT
        ) from reason

    def _ask(self, at: int, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._address.username:
            return self._say(at, path, body, "")
        token = self._token or self._authenticated(at, "")
        try:
            return self._say(at, path, body, token)
        except EtcdRefused as exc:
            if exc.code != _UNAUTHENTICATED and not any(text in str(exc) for text in _LOGIN_AGAIN):
                raise
            return self._say(at, path, body, self._authenticated(at, token))

    def _authenticated(self, at: int, stale: str) -> str:
        """Return a token other than the stale one: somebody else may have brought it meanwhile."""
        with self._login:
            if self._token == stale:
                credentials = {"name": self._address.username, "password": self._address.password}
                self._token = str(self._say(at, "/auth/authenticate", credentials, "").get("token", ""))
            return self._token

    def _say(self, at: int, path: str, body: Mapping[str, Any], token: str) -> Mapping[str, Any]:
        import requests
        from etcd3gw import exceptions

        headers = {"Authorization": token} if token else {}
        with self._client(at) as client:
            try:
                url = client.get_url(path)
                answer: Mapping[str, Any] = client.post(url, json=body, headers=headers, allow_redirects=False)
            except (exceptions.ConnectionFailedError, exceptions.ConnectionTimeoutError) as exc:
                raise _NoAnswerError(self._said(at, exc)) from exc
            except exceptions.Etcd3Exception as exc:
                code, message = _refusal(exc)
                if code in _PASSING or _BUSY in message or isinstance(exc, exceptions.InternalServerError):
                    raise _NoAnswerError(self._said(at, exc)) from exc
                raise EtcdRefused(f"etcd at {self._name(at)}: {message}", code) from exc
            except (requests.RequestException, ValueError) as exc:  # an answer that was cut off, or is no JSON
                raise _NoAnswerError(self._said(at, exc)) from exc
            except OSError as exc:  # a certificate file that cannot be read
                raise StoreError(f"etcd at {self._name(at)}: {exc}") from exc
        if "error" in answer:  # what began as a stream of answers ends so
            raise _NoAnswerError(f"{self._name(at)}: {answer['error']}")
        return answer

    @contextmanager
    def _client(self, at: int) -> Iterator["Etcd3Client"]:
        """Lend a client that nobody else uses meanwhile: sessions are not safe for threads."""
        with self._lock:
            client = self._idle[at].pop() if self._idle[at] else None
        client = client or self._new_client(at)
        try:
            yield client
        finally:
            with self._lock:
                self._idle[at].append(client)

    def _new_client(self, at: int) -> "Etcd3Client":
        import requests
        from etcd3gw.client import Etcd3Client

        session = requests.Session()
        session.trust_env = False  # else proxies, ~/.netrc and REQUESTS_CA_BUNDLE of the environment count
        session.verify = str(self._address.ca) if self._address.ca is not None else True
        if self._address.cert is not None and self._address.key is not None:
            session.cert = (str(self._address.cert), str(self._address.key))
        scheme, host, port = self._endpoints[at]
        return Etcd3Client(host, port, scheme, timeout=self._timeout, api_path=_API, session=session)

    def _name(self, at: int) -> str:
        _, host, port = self._endpoints[at]
        return f"{host}:{port}"

    def _said(self, at: int, exc: Exception) -> str:
        detail = getattr(exc, "detail_text", None) or str(exc) or type(exc).__name__
        return f"{self._name(at)}: {' '.join(detail.split())[:300]}"


def _split(endpoint: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port or 2379
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError("etcd: an endpoint is no URL", hint="write them like http://127.0.0.1:2379")
    return parts.scheme, parts.hostname, port


def _refusal(exc: Exception) -> tuple[int, str]:
    """Return gRPC's code and message of an answer that is an error; -1 where something else answered."""
    detail = getattr(exc, "detail_text", None) or ""
    try:
        body = json.loads(detail)
        return int(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return -1, f"no answer of etcd's: {' '.join(f'{exc} {detail}'.split())[:200]}"


def _require_client() -> None:
    try:
        import etcd3gw  # noqa: F401 (whether it is there)
    except ImportError as exc:
        raise PluginError(
            f"a store in etcd needs etcd3gw, which cannot be loaded: {exc}", hint="pip install 'infrakit-py[etcd]'"
        ) from exc
