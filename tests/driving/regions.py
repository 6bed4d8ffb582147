"""An account on a virtual clock, with whoever declares and applies there, or keeps it so as a controller does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from infrakit_py.clock import VirtualClock
from infrakit_py.engine.converge import End, Settlement
from infrakit_py.engine.engine import Engine
from infrakit_py.stores.memory import MemoryStore
from tests.driving.inline import InlineApp, apply_inline, write
from tests.driving.vendor import Document, F, Vendor


@dataclass
class Region(Generic[F]):
    """`settings` are those of the provider in every declaration. `ready` is noted while a controller works."""

    vendor: Vendor[F]
    fake: F
    clock: VirtualClock
    root: Path
    settings: Document
    store: MemoryStore = field(default_factory=MemoryStore)
    ready: list[int] = field(default_factory=list)

    @property
    def app(self) -> InlineApp:
        return InlineApp(clock=self.clock)

    def write(self, **groups: Document) -> Path:
        return write(self.root, self.vendor.cluster(settings=self.settings, **groups))

    def apply(self, **groups: Document) -> Settlement:
        return apply_inline(self.app, self.write(**groups), self.store)

    def converge(self, **groups: Document) -> None:
        settled = self.apply(**groups)
        assert settled.end is End.CONVERGED, settled
        assert self.faults(**groups) == []

    def faults(self, **groups: Document) -> list[str]:
        return self.vendor.faults_of(self.fake, self.vendor.cluster(**groups))

    def keep(self, engine: Engine, seconds: float, group: str = "web", declared: Any = None) -> None:
        """Let a controller work for a while, and note how many of a group serve after each of its steps."""
        until = self.clock.now() + seconds
        while (now := self.clock.now()) < until:
            due = engine.step()
            self.ready.append(len(self.vendor.serving(self.fake, group, declared or {"machine": {}})))
            self.clock.sleep(max(0.0, min(due, until) - now))
