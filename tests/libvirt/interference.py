"""Faults of libvirt's API for the conformance suite, where a process or a connection would break off a creation."""

from typing import Any


class Interference:
    """Stands between the provider and two calls of `virDomain` until `remove`."""

    def __init__(self) -> None:
        import libvirt

        self._kind = libvirt.virDomain
        self._create, self._set_metadata = libvirt.virDomain.create, libvirt.virDomain.setMetadata
        self._cuts_short = self._loses_reply = False
        self._kind.create = lambda domain: self._start(domain)
        self._kind.setMetadata = lambda *given: self._write(*given)

    def cut_short(self) -> None:
        """Let the next start not happen, as when the process is killed just before."""
        self._cuts_short = True

    def lose_reply(self) -> None:
        """Let the last call of the next creation happen, and the connection break before it is answered."""
        self._loses_reply = True

    def remove(self) -> None:
        self._kind.create, self._kind.setMetadata = self._create, self._set_metadata

    def _start(self, domain: Any) -> Any:
        breaks, self._cuts_short = self._cuts_short, False
        return self._fail() if breaks else self._create(domain)

    def _write(self, *given: Any) -> Any:
        breaks, self._loses_reply = self._loses_reply, False
        done = self._set_metadata(*given)
        return self._fail() if breaks else done

    def _fail(self) -> None:
        import libvirt

        raise libvirt.libvirtError("internal error: client socket is closed")
