"""What a vendor must tell of itself, so that what is shown of one can be shown of all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from infrakit_providers.simulated.cloud import SimCloud
from tests.fakes.proxy import Call

Document = Mapping[str, Any]


class Fake(Protocol):
    """A vendor's stand-in on this machine."""

    url: str
    cloud: SimCloud

    @property
    def mistakes(self) -> list[str]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


F = TypeVar("F", bound=Fake)


@dataclass(frozen=True)
class Vendor(Generic[F]):
    """A vendor, its stand-in, and how to look at what is there past every lag.

    `credentials` let this process's clients speak to a URL as if it were the fake's; they are the environment
    variables that begin with `variables`. `changing` and `launching` are patterns of calls that change anything, and
    that make machines; `name_of` is how people call a call.
    """

    credentials: Callable[[F, str], AbstractContextManager[None]]
    variables: tuple[str, ...]
    cluster: Callable[..., dict[str, Any]]
    faults_of: Callable[[F, Document | None], list[str]]
    members: Callable[[F, str], Sequence[object]]
    serving: Callable[[F, str, Document], Sequence[object]]
    """Of a group, by its name and what is declared of it."""
    changing: str
    launching: str
    name_of: Callable[[Call], str]
    settings: Document = field(default_factory=dict)
    """Of the provider, where nothing shall be waited for."""
