"""A line to a vendor that is bad at launches, and whoever counts the machines at its other end. In virtual time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, Generic

from infrakit_py.clock import VirtualClock
from infrakit_py.engine.converge import End
from infrakit_py.stores.memory import MemoryStore
from tests.driving.inline import InlineApp, apply_inline, write
from tests.driving.vendor import Document, F, Vendor
from tests.fakes.proxy import Call, CutReply, DropReply, DropRequest, Effect, FaultProxy, Tap

SEED: Final = 20
STRUCK: Final[Mapping[str, Effect]] = {
    "request lost": DropRequest(),
    "reply lost": DropReply(),
    "reply cut in half": CutReply(),
}
"""How a call goes wrong on any line."""


@dataclass
class Line(Generic[F]):
    """An account behind a line, with whoever counts its machines at each launch."""

    vendor: Vendor[F]
    fake: F
    proxy: FaultProxy
    clock: VirtualClock
    root: Path
    document: Document
    too_many: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.proxy.add(self.vendor.launching, Tap(self._count, "after"), times=None)

    def strike(self, effect: Effect, of: int, count: int) -> None:
        """Let so many launches out of the first so many go wrong."""
        for number in sorted(Random(SEED).sample(range(1, of + 1), count)):
            self.proxy.add(self.vendor.launching, effect, first=number)

    def apply(self) -> None:
        settled = apply_inline(InlineApp(clock=self.clock), write(self.root, self.document), MemoryStore())
        assert settled.end is End.CONVERGED, settled

    def check(self, struck: int) -> None:
        """All is as declared, nothing else was ever there, and the line was as bad as it was meant to be."""
        assert sum(one.status != 200 for one in self.proxy.calls(self.vendor.launching)) == struck
        assert self.too_many == []
        assert self.vendor.faults_of(self.fake, self.document) == []
        wanted = sum(group["size"] for group in self.document["groups"].values())
        assert len(self.fake.cloud.everything()) == wanted, "a machine was made in vain"
        assert self.fake.mistakes == []

    def _count(self, call: Call) -> None:
        del call
        for name, group in self.document["groups"].items():
            if (there := len(self.vendor.members(self.fake, name))) > group["size"]:
                self.too_many.append(f"{name}: {there}")
