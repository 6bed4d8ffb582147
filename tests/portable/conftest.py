"""The stand-ins for clouds, and somebody who uses them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.equipped import Equipped
from tests.cli.shell import Result
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2 import FakeSettings as EC2Settings
from tests.fakes.gce import FakeGCE
from tests.fakes.gce import FakeSettings as GCESettings

KINDS = ("simulated", "aws", "gcp")


class Clouds:
    """The stand-ins for EC2 and Compute Engine, and somebody who uses them."""

    def __init__(self, shell: Equipped, ec2: FakeEC2, gce: FakeGCE) -> None:
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
        yield Clouds(Equipped(tmp_path), ec2, gce)
        assert not ec2.mistakes, ec2.mistakes
        assert not gce.mistakes, gce.mistakes
