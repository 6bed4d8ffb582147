"""A cluster that is declared for one provider runs at another, and one cluster may have groups at several."""

from typing import Any

import pytest

from tests.portable.conftest import KINDS, Clouds
from tests.portable.declared import IMAGES, MACHINES, PROVIDERS, STEPS, at, document, told


@pytest.mark.long
def test_the_same_cluster_runs_at_every_provider_by_plans_that_do_the_same(clouds: Clouds) -> None:
    plans: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for changes in STEPS:
            clouds.shell.write(at(kind, **changes))
            plans[kind].append(told(clouds.infra("plan", "--json").json))
            clouds.infra("apply", "--auto-approve")
        assert told(clouds.infra("plan", "--json").json) == []
        clouds.infra("destroy", "--auto-approve")
        assert clouds.there(kind) == 0
    assert all(plans["simulated"])
    assert plans["simulated"] == plans["aws"] == plans["gcp"]


@pytest.mark.long
def test_one_cluster_has_groups_at_three_providers_and_goes_in_one_run(clouds: Clouds) -> None:
    groups = {
        kind: {"provider": kind, "image": f"{kind}-v1", "size": 3, "machine": dict(MACHINES[kind])} for kind in KINDS
    }
    images = {f"{kind}-{name}": image for kind in KINDS for name, image in IMAGES[kind].items()}
    providers = {kind: PROVIDERS[kind] for kind in KINDS}
    clouds.shell.write(document("shop", providers, images, groups))
    clouds.infra("apply", "--auto-approve")
    status = clouds.infra("status", "--json").json
    machines = [one["instance"] for group in status["clusters"][0]["groups"] for one in group["machines"]]
    assert len(machines) == 9
    assert (len(clouds.ec2.ids("running")), len(clouds.gce.names("RUNNING"))) == (3, 3)
    clouds.infra("destroy", "--auto-approve")
    assert [clouds.there(kind) for kind in KINDS] == [0, 0, 0]
