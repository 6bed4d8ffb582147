"""A terminal with some variables more in its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.cli.shell import Shell


@dataclass(frozen=True)
class Told(Shell):
    """A shell with some variables more in its environment."""

    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**super().environment(more), **self.more}
