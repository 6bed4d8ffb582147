"""What `infra plan` estimates is what the engine then takes: the same policies, the same pace, the same limits."""

from dataclasses import dataclass, replace
from typing import Final

import pytest

from infrakit_groups.policies import rolling
from infrakit_py.engine.forecast import World, forecast
from infrakit_py.model.instance import Snapshot
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import GroupSpec, HealthCheck, RolloutSpec, Strategy, VictimOrder
from tests.engine.harness import Lab, group

PATIENT: Final = RolloutSpec(progress_deadline_seconds=86400.0)
LENIENT: Final = HealthCheck(grace_seconds=600.0)
SLOW: Final = HealthCheck(tcp=80, interval_seconds=10.0, healthy_after=3, grace_seconds=600.0)


@dataclass(frozen=True)
class Case:
    """A change from one declaration (None: nothing is there) to another, on a cloud."""

    before: GroupSpec | None
    after: GroupSpec
    cloud: dict[str, object]


def rolled(
    size: int,
    rollout: RolloutSpec = PATIENT,
    *,
    boot: str = "30s",
    health: HealthCheck = LENIENT,
    cloud: dict[str, object] | None = None,
) -> Case:
    before = group(size=size, rollout=rollout, health=health)
    return Case(before, replace(before, image="a2"), {"boot_time": boot, **(cloud or {})})


def named(count: int, boot: str = "30s") -> Case:
    ids = tuple(f"db-{number}" for number in range(count))
    before = group(logical_ids=ids, rollout=PATIENT, health=LENIENT)
    return Case(before, replace(before, image="a2"), {"boot_time": boot})


CASES: Final = {
    "from nothing": Case(None, group(size=5), {"boot_time": "30s"}),
    "from nothing, ec2": Case(None, group(size=1200, rollout=PATIENT), {"boot_time": "30s", "limits": "ec2"}),
    "one at a time": rolled(5),
    "one machine": rolled(1),
    "slow to boot": rolled(3, boot="4m"),
    "quick to boot": rolled(10, boot="2s"),
    "surge of all": rolled(8, replace(PATIENT, max_surge=Amount(100, percent=True))),
    "a quarter at a time": rolled(40, replace(PATIENT, max_surge=Amount(25, percent=True))),
    "no surge": rolled(6, replace(PATIENT, max_surge=Amount(0), max_unavailable=Amount(2))),
    "surge and unavailable": rolled(9, replace(PATIENT, max_surge=Amount(1), max_unavailable=Amount(2))),
    "steps and bakes": rolled(10, replace(PATIENT, steps=(Amount(1), Amount(50, percent=True)), bake_seconds=300.0)),
    "min ready": rolled(4, replace(PATIENT, min_ready_seconds=45.0)),
    "slow checks": rolled(4, health=SLOW),
    "recreate": rolled(6, replace(PATIENT, strategy=Strategy.RECREATE)),
    "blue green": rolled(6, replace(PATIENT, strategy=Strategy.BLUE_GREEN, bake_seconds=120.0)),
    "blue green kept": rolled(4, replace(PATIENT, strategy=Strategy.BLUE_GREEN, keep_old_seconds=600.0)),
    "slow to go": rolled(
        5, replace(PATIENT, max_surge=Amount(0), max_unavailable=Amount(1)), cloud={"destroy_time": "40s"}
    ),
    "late listing": rolled(5, cloud={"listing_lag": "8s"}),
    "newest first": rolled(5, replace(PATIENT, order=VictimOrder.NEWEST)),
    "named": named(3),
    "named, five": named(5, boot="1m"),
    "grows": Case(group(size=3), group(size=9), {"boot_time": "25s"}),
    "shrinks and rolls": Case(group(size=6), group(size=4, image="a2"), {"boot_time": "25s"}),
    "ec2, 1500 by a tenth": rolled(
        1500, replace(PATIENT, max_surge=Amount(10, percent=True)), cloud={"limits": "ec2"}
    ),
}
LARGE = ("ec2, 1500 by a tenth",)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[pytest.mark.long] if name in LARGE else []) for name, case in CASES.items()],
)
def test_the_estimate_is_within_a_tenth_of_what_it_takes(case: Case) -> None:
    lab = Lab(case.cloud)
    if case.before is not None:
        lab.run(case.before, timeout=1e6)
        lab.clock.sleep(3600.0)  # the account's buckets are full again
    estimate = _estimate(lab, case.after)
    began = lab.clock.now()
    lab.run(case.after, timeout=1e6)
    took = lab.clock.now() - began
    assert estimate == pytest.approx(took, rel=0.1), f"estimated {estimate:.1f} s, took {took:.1f} s"


def _estimate(lab: Lab, wanted: GroupSpec) -> float:
    engine = lab.engine(wanted)
    observed = engine._reconciler
    target = observed.versions.target(engine._cluster.groups["web"]).group
    snapshot: Snapshot = observed.observer.observe(target, after_turn=0, max_age_seconds=0.0).snapshot
    world = World(lab.provider.pace, lab.provider.limits, wanted.health, 1.0)
    seconds = forecast(rolling, target.desired, snapshot, lab.clock.now(), world).seconds
    assert seconds is not None
    return seconds
