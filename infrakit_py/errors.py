"""Every error that may leave a room, in one tree.

Whether a call may be repeated is a property of the class (`retryable`), never a decision at the place
that catches it. An error's text is one line: what, where, for which input; `hint` says what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class InfrakitError(Exception):
    """Anything that is explained to a person in one line, without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(InfrakitError):
    """The command cannot be understood or may not run like this."""

    exit_code = 64


class UnknownName(UsageError):
    """There is nothing of the name that was given."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}"


class SpecError(InfrakitError):
    """One or more mistakes in the declared state. Nothing has been touched."""

    exit_code = 64

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginError(InfrakitError):
    """A plugin is missing, cannot be loaded (its extra is not installed) or breaks its contract."""


class StoreError(InfrakitError):
    """The store of intents and revisions cannot be read or written."""


class Conflict(InfrakitError):
    """What was to be changed is not what it was when it was looked at: look again, and decide anew."""


class ClusterLocked(InfrakitError):
    """Another process on this machine is changing the same cluster."""


class ProviderError(InfrakitError):
    """A provider refused or failed. Vendor codes that nobody has classified end here: never repeated blindly."""

    retryable: ClassVar[bool] = False
    refused: ClassVar[bool] = False
    """Whether a creation that ended in it certainly did not happen, although it may be tried again."""
    tried_again: bool = False
    """Whether whoever raised it has tried again already, as often as is sensible within one call."""


class Transient(ProviderError):
    """It may work when simply tried again: time-outs, lost connections, a daemon that restarts."""

    retryable = True


class Throttled(Transient):
    """Over the provider's rate of calls."""

    refused = True


class Fenced(Transient):
    """This controller does not own the cluster any more, or cannot prove it: nothing was called."""

    refused = True


class NoCapacity(ProviderError):
    """The provider has no such machine to give, in this zone and now. Worth a later try, not an immediate one.

    `elsewhere`: unless the provider knows another zone or type to try, and will do so when asked again.
    """

    retryable = True
    refused = True

    def __init__(self, message: str, *, hint: str | None = None, elsewhere: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.elsewhere = elsewhere


class QuotaExceeded(ProviderError):
    """The account's limit is reached. Only a person changes that."""


class TokenSpent(ProviderError):
    """The instance that this token once created is gone; the next incarnation may be created."""

    retryable = True


class TokenMismatch(ProviderError):
    """The token already names an instance with other parameters: it exists, so look again."""

    retryable = True


class ImageMissing(ProviderError):
    """The image is not (or no longer) published at the provider; the next tick publishes it again."""

    retryable = True
    refused = True


class NotOurs(ProviderError):
    """The instance does not carry our ownership tags, so it is not touched."""


class IncompleteView(Transient):
    """The provider could not report everything; what it did not report is unknown, not gone."""
