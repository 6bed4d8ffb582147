"""What is accepted: parameters and bodies. They are strict: what is not known is refused."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from infrakit_py.loading.fields import Size

MAX_LIMIT: Final = 10_000
DEFAULT_LIMIT: Final = 1_000
MAX_NUMBER: Final = 2**63 - 1
_MAX_PATH: Final = 500
_MAX_FILES: Final = 1_000
_MAX_REASON: Final = 500
_WHOLE: Final = re.compile(r"[0-9]{1,19}")


def _whole(written: object) -> object:
    """Read a number as it stands in a query: digits, and nothing that Python would read as a number besides."""
    if isinstance(written, str):
        if not _WHOLE.fullmatch(written):
            raise ValueError("must be a whole number")
        return int(written)
    return written


def _truth(written: object) -> object:
    if isinstance(written, str):
        if written not in ("true", "false"):
            raise ValueError("must be true or false")
        return written == "true"
    return written


def _relative(path: str) -> str:
    """Refuse what could lie outside of the directory that it is relative to."""
    pure = PurePosixPath(path)
    if not path or len(path) > _MAX_PATH or "\\" in path or any(ord(character) < 32 for character in path):
        raise ValueError(
            f"must be a path with at most {_MAX_PATH} characters, without backslashes and control characters"
        )
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        raise ValueError("must be a relative path without '.' and '..'")
    return path


def _single_line(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError("must be one line without control characters")
    return text


QueryNumber: TypeAlias = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MAX_NUMBER)]
Limit: TypeAlias = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_LIMIT)]
Truth: TypeAlias = Annotated[bool, BeforeValidator(_truth)]
FilePath: TypeAlias = Annotated[str, AfterValidator(_relative), Field(min_length=1, max_length=_MAX_PATH)]
Reason: TypeAlias = Annotated[str, AfterValidator(_single_line), Field(max_length=_MAX_REASON)]
Revision: TypeAlias = Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class Query(BaseModel):
    """No parameters; those of others derive from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HistoryQuery(Query):
    group: str | None = Field(default=None, description="entries of this group alone")
    limit: Limit = Field(default=DEFAULT_LIMIT, description="the latest so many")


class EventsQuery(Query):
    after: QueryNumber | None = Field(default=None, description="events after this one; default: the latest")
    cluster: str | None = Field(default=None, description="events of this cluster alone")
    limit: Limit = Field(default=DEFAULT_LIMIT, description="at most so many")


class StreamQuery(Query):
    after: QueryNumber | None = Field(default=None, description="begin after this event; default: with what comes")
    cluster: str | None = Field(default=None, description="events of this cluster alone")


class WithdrawQuery(Query):
    prune: Truth = Field(default=False, description="destroy the cluster's machines")


class ApplyQuery(Query):
    dry_run: Truth = Field(default=False, description="only validate")


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NoBody(Body):
    """Nothing is sent."""


class RawBody(Body):
    """Bytes that the sender has signed."""

    content: bytes = b""


class ApplyBody(Body):
    """Cluster files and what they refer to, by paths relative to one directory."""

    files: Annotated[dict[FilePath, str], Field(min_length=1, max_length=_MAX_FILES)] = Field(
        description="the text of each file"
    )
    main: Annotated[list[FilePath], Field(min_length=1, max_length=_MAX_FILES)] = Field(
        description="which of them declare clusters"
    )
    expected: dict[str, Revision] | None = Field(
        default=None, description="the revision of each cluster that must be in force; 0: none"
    )


class ScaleBody(Body):
    size: Size = Field(description="how many machines there shall be")
    expected: Revision | None = Field(default=None, description="the revision that must be in force")


class RolloutBody(Body):
    groups: Annotated[list[str], Field(min_length=1)] | None = Field(default=None, description="default: all groups")
    reason: Reason = Field(default="", description="why; others will read it")
