"""The program dies at each of its calls to the provider and the store, before it and after; the next one goes on.

Death is an exception that nothing catches and that takes the whole engine with it. What is left is what a killed
process leaves: the cloud and, unless it is lost too, the store's file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.engine.converge import End
from infrakit_py.model.spec import GroupSpec, RolloutSpec
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from tests.engine.harness import Lab, group

pytestmark = pytest.mark.crash

PROVIDER_CALLS = frozenset({"describe", "lookup", "provision", "destroy", "tag", "published", "publish"})
STORE_CALLS = frozenset({"record", "forget", "intents"})
NEVER = 10**9


class Death(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """Counts calls, and strikes at one of them."""

    strike_at: int = NEVER
    after: bool = False
    calls: int = 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self.calls += 1
            mine = self.calls
            if mine == self.strike_at and not self.after:
                raise Death
            answer = call(*arguments)
            if mine == self.strike_at:
                raise Death
            return answer

        return called


@dataclass
class Doomed:
    """Stands before a provider or a store, and lets fate have a look at each call."""

    inner: Any
    names: frozenset[str]
    fate: Fate = field(default_factory=Fate)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return self.fate.around(found) if name in self.names else found


BEFORE = (group(size=3), group("db", logical_ids=("db-1", "db-2"), machine={"data_disk": "1GiB"}))
AFTER = tuple(replace(g, image="a2", rollout=RolloutSpec(drain_timeout_seconds=1.0)) for g in BEFORE)
SCENES: dict[str, tuple[tuple[GroupSpec, ...], tuple[GroupSpec, ...]]] = {
    "creation": ((), BEFORE),
    "rollout": (BEFORE, AFTER),
    "shrinking": (BEFORE, (replace(BEFORE[0], size=2), BEFORE[1])),
}
LAGS = {"exact listings": {}, "late listings": {"listing_lag": "20s"}}


def survive(directory: Path, scene: str, settings: dict[str, str], fate: Fate, *, lose_store: bool) -> None:
    """Run a scene with a death in it, then run it again as the next process would, and look at the world."""
    before, after = SCENES[scene]
    lab = Lab({"boot_time": "3s", **settings}, store=SqliteStore(directory))
    if before:
        assert lab.run(*before).end is End.CONVERGED
        lab.clock.sleep(60.0)
    disks = {m.tags["infrakit.slot"]: m.disk for m in lab.machines("db")}
    store, provider = lab.store, lab.provider
    lab.store, lab.provider = Doomed(store, STORE_CALLS, fate), Doomed(provider, PROVIDER_CALLS, fate)  # type: ignore[assignment]
    if fate.strike_at == NEVER:
        lab.run(*after)
        store.close()  # type: ignore[attr-defined]
        return
    with pytest.raises(Death):
        lab.run(*after)
    lab.store, lab.provider = MemoryStore() if lose_store else store, provider
    assert lab.run(*after).end is End.CONVERGED
    if lose_store and settings:
        # Nobody remembers what was asked for and is not listed yet: the cost is a surplus that passes.
        assert sum(len(lab.machines(g.name)) for g in after) <= sum(g.count + 1 for g in after)
        lab.clock.sleep(60.0)
        assert lab.run(*after).end is End.CONVERGED
    for wanted in after:
        there = lab.machines(wanted.name)
        assert len(there) == wanted.count
        assert lab.images(wanted.name) == [wanted.image] * wanted.count
        assert len({m.tags["infrakit.slot"] for m in there}) == wanted.count
    assert len({m.token for m in lab.cloud.everything()}) == len(lab.cloud.everything())
    assert not disks or {m.tags["infrakit.slot"]: m.disk for m in lab.machines("db")} == disks
    lab.clock.sleep(120.0)
    assert sum(len(lab.machines(g.name)) for g in after) == len(lab.cloud.everything()), "something leaked"
    store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("lose_store", [False, True], ids=["store kept", "store lost"])
@pytest.mark.parametrize("settings", LAGS.values(), ids=LAGS.keys())
@pytest.mark.parametrize("scene", SCENES)
def test_trap_25_a_death_at_any_call_leaks_nothing_and_doubles_nothing(
    scene: str, settings: dict[str, str], lose_store: bool, tmp_path: Path
) -> None:
    whole = Fate()
    survive(tmp_path / "whole", scene, settings, whole, lose_store=lose_store)
    assert whole.calls > 10
    step = max(1, whole.calls // 40)
    for strike_at in range(1, whole.calls + 1, step):
        for after in (False, True):
            where = tmp_path / f"{strike_at}-{after}"
            survive(where, scene, settings, Fate(strike_at, after), lose_store=lose_store)
