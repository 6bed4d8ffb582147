"""A terminal of somebody who has a `linuxkit` in `bin`, and a cache for images of their own."""

import os
from collections.abc import Mapping

from tests.cli.shell import Shell


class Equipped(Shell):
    """A shell whose PATH begins with its own `bin`."""

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "INFRAKIT_CACHE_DIR": str(self.root / "cache")}
        return {**super().environment(more), **own}
