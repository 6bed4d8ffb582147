"""Who may ask: bearer tokens from a file, one a line, each with a name and a role.

Tokens are compared by their digests, all of them each time, so that the time an answer takes says nothing about them.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from stat import S_IRWXO, S_IWGRP
from typing import Final

from infrakit_py.errors import Problem, SpecError

_MIN_LENGTH: Final = 16
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}"
_TOKEN: Final = r"[\x21-\x7e]+"
_LINE: Final = "must be NAME ROLE TOKEN, where the role is read or write"


class Role(StrEnum):
    """What a token is good for. `write` includes `read`."""

    READ = "read"
    WRITE = "write"

    def allows(self, wanted: "Role") -> bool:
        return self is Role.WRITE or wanted is Role.READ


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `name` is the actor of what is done."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Tokens:
    """Callers by the digests of their tokens. None are known where no file is."""

    known: tuple[tuple[bytes, Caller], ...] = field(default=(), repr=False)
    required: bool = False

    def caller(self, authorization: str) -> Caller | None:
        """Return whom an Authorization header names."""
        scheme, _, token = authorization.partition(" ")
        digest = _digest(token.strip())
        found = None
        for known, caller in self.known:
            if compare_digest(known, digest):
                found = caller
        return found if scheme.lower() == "bearer" else None


def read_tokens(path: Path | None) -> Tokens:
    """Read a file of tokens. SpecError with every wrong line, and where others can read or change the file."""
    if path is None:
        return Tokens()
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (S_IRWXO | S_IWGRP):
                raise _wrong(
                    path, 0, f"others can read or change it: its mode is {mode & 0o777:04o}, chmod 600 is right"
                )
            lines = file.read().splitlines()
    except (OSError, ValueError) as exc:
        raise _wrong(path, 0, f"cannot be read: {getattr(exc, 'strerror', None) or 'is no UTF-8 text'}") from exc
    return Tokens(tuple(_read(path, lines)), required=True)


def _read(path: Path, lines: Iterable[str]) -> Iterator[tuple[bytes, Caller]]:
    found: dict[bytes, Caller] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if complaint := _complaint(words):
            problems.append(Problem(str(path), number, 1, complaint))
        elif (digest := _digest(words[2])) in found:
            problems.append(Problem(str(path), number, 1, "has the token of another line"))
        else:
            found[digest] = Caller(words[0], Role(words[1]))
    if not found and not problems:
        problems.append(Problem(str(path), 0, 0, f"holds no token; a line {_LINE}"))
    if problems:
        raise SpecError(problems)
    yield from found.items()


def _complaint(words: list[str]) -> str:
    """Say what is wrong with a line, without a word of the token."""
    if len(words) != 3 or words[1] not in list(Role):
        return _LINE
    if not re.fullmatch(_NAME, words[0]):
        return "the name must hold only letters, digits, '.', '_', '@' and '-', at most 100"
    if len(words[2]) < _MIN_LENGTH or not re.fullmatch(_TOKEN, words[2]):
        return f"the token must have at least {_MIN_LENGTH} characters, all of them printable ASCII"
    return ""


def _wrong(path: Path, line: int, complaint: str) -> SpecError:
    return SpecError([Problem(str(path), line, 0, complaint)])


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
