"""Several clusters on one simulated cloud: what their files declare, and whether the cloud is so."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from infrakit_providers.simulated.machines import Machine
from infrakit_py.images.identity import read_image
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import ImageForm
from tests.cli.shell import Shell

IMAGES: Final = ("v1", "v2", "v3")
_SIZES: Final = range(8, 13)
_GONE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Declared:
    """A group as its file has it."""

    size: int
    image: str


@dataclass
class Town:
    """So many clusters of so many groups of ten, each cluster in a file of its own."""

    shell: Shell
    clusters: int
    groups: int
    chance: Random
    declared: dict[tuple[str, str], Declared] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identities = {
            name: read_image(name, ImageForm.REFERENCE, {}, reference=name).identity for name in IMAGES
        }
        self.shell.work.mkdir(parents=True)
        for cluster in self._names():
            for number in range(self.groups):
                self.declared[cluster, f"g{number}"] = Declared(10, IMAGES[0])
            self._write(cluster)

    def change(self) -> str:
        """Write another size, another image or both of one group to its file, and say what."""
        place = self.chance.choice(sorted(self.declared))
        was = wanted = self.declared[place]
        if self.chance.random() < 0.6:
            wanted = replace(wanted, image=self.chance.choice(IMAGES))
        if wanted == was or self.chance.random() < 0.3:
            wanted = replace(wanted, size=self.chance.choice([size for size in _SIZES if size != was.size]))
        self.declared[place] = wanted
        self._write(place[0])
        return f"{'/'.join(place)}: {wanted.size} of {wanted.image}"

    def bury(self) -> None:
        """Let the cloud forget machines that are long gone: it keeps each for a week, in the controller's memory."""
        with closing(sqlite3.connect(self.shell.database, timeout=30.0)) as rows, rows:
            rows.execute("DELETE FROM machines WHERE gone_at < ?", (time.time() - _GONE_SECONDS,))

    def differences(self) -> Mapping[tuple[str, str], str]:
        """Return where the cloud is not as declared, by cluster and group."""
        found: dict[tuple[str, str], list[Machine]] = {place: [] for place in self.declared}
        for machine in self.shell.machines():
            place = machine.tags.get(tags.CLUSTER, ""), machine.tags.get(tags.GROUP, "")
            found.setdefault(place, []).append(machine)
        told = {place: self._difference(self.declared.get(place), machines) for place, machines in found.items()}
        return {place: text for place, text in sorted(told.items()) if text}

    def _difference(self, wanted: Declared | None, machines: Sequence[Machine]) -> str:
        if wanted is None:
            return f"{len(machines)} machines of a group that nobody declares"
        broken = [m for m in machines if m.state is not InstanceState.RUNNING]
        if broken or len(machines) != wanted.size:
            told = "".join(f", {m.name} {m.state} {m.detail}" for m in broken)
            return f"{len(machines)} machines where {wanted.size} are declared{told}"
        others = [m.name for m in machines if m.tags[tags.IMAGE] != self.identities[wanted.image]]
        return f"{', '.join(others)} not of {wanted.image}" if others else ""

    def _names(self) -> list[str]:
        return [f"town{number}" for number in range(self.clusters)]

    def _write(self, cluster: str) -> None:
        """Put the file in the place of the one before, whole."""
        groups = {group: _group(what) for (name, group), what in self.declared.items() if name == cluster}
        document = {
            "apiVersion": "infrakit-py/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": cluster},
            "providers": {"sim": {"plugin": "simulated", "boot_time": {"min": "200ms", "max": "1s"}}},
            "images": {name: {"reference": name} for name in IMAGES},
            "groups": groups,
        }
        written = self.shell.write(document, file=f"{cluster}.new")
        written.rename(self.shell.work / f"{cluster}.yml")


def _group(what: Declared) -> dict[str, Any]:
    return {
        "provider": "sim",
        "image": what.image,
        "size": what.size,
        "health": {"tcp": 80, "interval": "2s", "grace": "30s"},
        "rollout": {"max_surge": 3, "failure_limit": "100%"},  # a new machine that is killed stops no rollout
    }
