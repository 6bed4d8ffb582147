"""What a request gets that could not be answered: a status, and a document that says why (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, Field

from infrakit_py.errors import (
    Conflict,
    Fenced,
    InfrakitError,
    Problem,
    SpecError,
    StoreError,
    UnknownName,
    UsageError,
)

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2


class ProblemPlace(BaseModel):
    """One mistake in a file. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str


class ProblemDocument(BaseModel):
    """Why a request was not answered."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    hint: str | None = Field(default=None, description="what to do about it")
    problems: list[ProblemPlace] | None = None


class Refusal(Exception):
    """A request that is not done, and how that is answered. `places`: the mistakes in files that it is about."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        places: Sequence[Problem] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.places = tuple(places)

    @property
    def document(self) -> ProblemDocument:
        places = [ProblemPlace(file=p.file, line=p.line, column=p.column, message=p.message) for p in self.places]
        return ProblemDocument(
            title=self.status.phrase,
            status=self.status.value,
            detail=self.detail,
            hint=self.hint,
            problems=places or None,
        )


def refusal_of(error: InfrakitError) -> Refusal:
    """Return how an error that the controller raised is answered."""
    status = _status(error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    places = error.problems if isinstance(error, SpecError) else ()
    return Refusal(status, _one_line(error), hint=error.hint, headers=headers, places=places)


def _status(error: InfrakitError) -> HTTPStatus:
    match error:
        case UnknownName():
            return HTTPStatus.NOT_FOUND
        case UsageError():
            return HTTPStatus.BAD_REQUEST
        case SpecError():
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case Conflict():
            return HTTPStatus.CONFLICT
        case StoreError() | Fenced():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def _one_line(error: InfrakitError) -> str:
    if isinstance(error, SpecError) and error.problems:
        more = len(error.problems) - 1
        return f"{error.problems[0]}" + (f" (and {more} more)" if more else "")
    return " ".join(str(error).split())
