"""A cluster that is declared for one provider runs at another, and one cluster may have groups at several."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Result, Shell
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2 import FakeSettings as EC2Settings
from tests.fakes.gce import FakeGCE
from tests.fakes.gce import FakeSettings as GCESettings
from tests.portable.declared import IMAGES, MACHINES, PROVIDERS, STEPS, at, document, told

KINDS = ("simulated", "aws", "gcp")


class Clouds:
    """The stand-ins for EC2 and Compute Engine, and somebody who uses them."""

    def __init__(self, shell: Shell, ec2: FakeEC2, gce: FakeGCE) -> None:
        self.shell, self.ec2, self.gce = shell, ec2, gce

    def infra(self, *arguments: str) -> Result:
        environment = {
            "AWS_ENDPOINT_URL": self.ec2.url,
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": self.gce.url,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": self.gce.url,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.gce.credentials),
        }
        result = self.shell.infra(*arguments, environment=environment)
        assert result.code == 0, str(result)
        return result

    def there(self, kind: str) -> int:
        """Count what a provider has: machines, disks and addresses."""
        match kind:
            case "aws":
                return len(self.ec2.ids()) + len(self.ec2.volumes()) + len(self.ec2.addresses())
            case "gcp":
                return len(self.gce.names()) + len(self.gce.disks()) + len(self.gce.addresses())
            case _:
                return len(self.shell.machines())


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Clouds]:
    for directory in ("work", "home"):
        (tmp_path / directory).mkdir()
    with (
        FakeEC2(EC2Settings(boot_seconds=0.2, terminate_seconds=0.1)) as ec2,
        FakeGCE(GCESettings(boot_seconds=0.2, delete_seconds=0.1, operation_seconds=0.05)) as gce,
    ):
        yield Clouds(Shell(tmp_path), ec2, gce)
        assert not ec2.mistakes, ec2.mistakes
        assert not gce.mistakes, gce.mistakes


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
