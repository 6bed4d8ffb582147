"""Who asked for what, and what was done: JSON lines that are only ever appended, for whoever has to answer for it.

Writing never fails whoever does something: what cannot be written is complained of, once until it can be.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from infrakit_py.api.operations import Change
from infrakit_py.clock import Clock
from infrakit_py.engine.events import EventKind
from infrakit_py.model.declared import Occurrence
from infrakit_py.model.spec import Json
from infrakit_py.render.standing import at_json

_MODE: Final = 0o600
_NO_ACTIONS: Final = frozenset(
    kind.value
    for kind in (
        EventKind.PUBLISHING,
        EventKind.READY,
        EventKind.WAITING,
        EventKind.CONVERGED,
        EventKind.BLOCKED,
        EventKind.RETRY,
    )
)
"""What is seen, waited for, or goes on. All else is done by somebody."""
_BEGUN: Final = frozenset(
    kind.value for kind in (EventKind.CREATING, EventKind.FINISHING, EventKind.DRAINING, EventKind.DESTROYING)
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that would change something. `result` is its status; `detail` says why it was refused."""

    actor: str
    role: str
    remote: str
    action: str
    cluster: str
    group: str
    reason: str
    result: int
    detail: str = ""
    changes: tuple[Change, ...] = ()
    options: Mapping[str, Json] = field(default_factory=dict)


class AuditLog:
    """A file of lines, which only its owner can read. Safe for threads. It may be moved away, as logrotate does."""

    def __init__(self, path: Path, clock: Clock, complain: Callable[[str], None]) -> None:
        """`complain` hears in one line why nothing can be written."""
        self._path = path
        self._clock = clock
        self._complain = complain
        self._lock = Lock()
        self._file = -1
        self._complained = False

    def action(self, event: Occurrence) -> None:
        """Write what the controller or somebody else has done; nothing of what was only seen."""
        if event.kind in _NO_ACTIONS:
            return
        self._write(
            {
                "at": at_json(event.at),
                "actor": event.actor,
                "role": None,
                "remote": None,
                "action": event.kind,
                "cluster": event.cluster,
                "group": event.group,
                "revision": event.revision or None,
                "reason": event.text,
                "result": _result_of(event.kind),
            }
        )

    def request(self, request: Request) -> None:
        """Write what was asked for, and what came of it."""
        changes = request.changes
        only = changes[0] if len(changes) == 1 else Change(request.cluster, request.group)
        entry: dict[str, Json] = {
            "at": at_json(self._clock.now()),
            "actor": request.actor or None,
            "role": request.role or None,
            "remote": request.remote,
            "action": request.action,
            "cluster": request.cluster or only.cluster or None,
            "group": request.group or only.group or None,
            "revision": only.revision or None,
            "reason": request.reason,
            "result": _result(request.result),
            "status": request.result,
        }
        if request.options:
            entry["options"] = request.options
        if request.detail:
            entry["detail"] = request.detail
        if changes:
            entry["changes"] = [
                {"cluster": c.cluster, "group": c.group or None, "revision": c.revision or None, "changed": c.changed}
                for c in changes
            ]
        self._write(entry)

    def close(self) -> None:
        """Let go of the file; another line opens it again."""
        with self._lock:
            self._let_go()

    def _write(self, entry: Mapping[str, Json]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._open()
                written = os.write(self._file, line)
                if written != len(line):  # the disk is full: the next line must not go on in this one
                    os.write(self._file, b"\n")
                    raise OSError(f"{written} of {len(line)} bytes were written")
            except OSError as exc:
                self._let_go()
                if not self._complained:
                    self._complained = True
                    self._complain(f"audit log {self._path}: cannot be written: {exc.strerror or exc}")
            else:
                self._complained = False

    def _open(self) -> None:
        """Open the file, or the new one in its place."""
        if self._file >= 0 and self._is_there():
            return
        self._let_go()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)

    def _is_there(self) -> bool:
        try:
            found, ours = os.stat(self._path), os.fstat(self._file)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _result(status: int) -> str:
    if status >= 500:
        return "failed"
    return "refused" if status >= 400 else "done"


def _result_of(kind: str) -> str:
    if kind == EventKind.FAILED.value:
        return "failed"
    return "begun" if kind in _BEGUN else "done"
