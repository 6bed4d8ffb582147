"""`infra` on the example's cluster, as processes of one ancestor, and the stand-in that they work on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cli.shell import ROOT
from tests.driving.forks import Forks, Order
from tests.fakes.gce import FakeGCE
from tests.gcp.driving import GCP

EXAMPLE = ROOT / "examples" / "gcp"


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Example:
    """A directory with the example's cluster file, and nothing but the documented environment."""

    forks: Forks
    fake: FakeGCE
    root: Path

    def infra(self, *arguments: str, **variables: str) -> Done:
        output = self.root / "output"
        output.write_text("")
        order = Order(arguments, str(self.root), {**self._environment(), **variables}, str(output))
        return Done(self.forks.run(order), output.read_text())

    def _environment(self) -> Mapping[str, str]:
        with GCP.credentials(self.fake, self.fake.url):
            known = {name: value for name, value in os.environ.items() if name.startswith(GCP.variables)}
        own = {"HOME": str(self.root), "INFRAKIT_STATE_DIR": str(self.root / "state"), "TERM": "dumb"}
        return {**known, **own, "PATH": os.environ["PATH"]}
