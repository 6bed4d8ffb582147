"""A private hypervisor with an opened provider, and what a person would find out about both."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from infrakit_providers.libvirt import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest, Provider, ProviderContext, ProvisionRequest
from tests.hosts import PrivateLibvirtd

SMALL: dict[str, Json] = {"memory": "128MiB"}
BOOT_SECONDS = 90.0
Seen = TypeVar("Seen")


def wait_until(look: Callable[[], Seen | None], what: str, seconds: float = BOOT_SECONDS) -> Seen:
    """Look until there is something to see, and return it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)
    return seen


class Site:
    """A hypervisor with an opened provider, and what a person would find out about both."""

    def __init__(self, host: PrivateLibvirtd, directory: Path) -> None:
        self.host = host
        self.settings: dict[str, Json] = {"uri": host.uri, "virt_type": "qemu"}
        self.directory = directory
        self.disks = DiskMaker(Cache(directory / "cache"))
        self.provider = self.open()

    def open(self, clock: Any = None, **settings: Json) -> Provider:
        return plugin.open(
            {**self.settings, **settings}, ProviderContext(clock or SystemClock(), self.directory, self.disks)
        )

    def boot(self, *requests: ProvisionRequest) -> list[InstanceId]:
        ids = []
        for outcome in self.provider.provision(requests):
            assert outcome.error is None, outcome.error
            assert outcome.instance_id is not None
            ids.append(outcome.instance_id)
        return ids

    def instance(self, id_: InstanceId) -> Instance | None:
        return self.provider.lookup([id_])[id_]

    def page(self, id_: InstanceId) -> dict[str, Any]:
        """Return what the machine says of itself, once it serves it."""

        def look() -> dict[str, Any] | None:
            instance = self.instance(id_)
            for address in instance.addresses if instance else ():
                with contextlib.suppress(OSError, ValueError):
                    page: dict[str, Any] = json.loads(self.host.http_get(f"http://{address}:8080/").body)
                    return page
            return None

        return wait_until(look, f"the page of {id_}")

    def destroy(self, id_: InstanceId, cluster: str = "demo", group: str = "web") -> None:
        (outcome,) = self.provider.destroy([DestroyRequest(id_, cluster, group)])
        assert outcome.error is None, outcome.error

    def domains(self) -> list[str]:
        return sorted(self.virsh("list", "--all", "--name").split())

    def volumes(self, prefix: str = "infrakit.") -> list[str]:
        """Return the files of the pool, so that what libvirt does not know is seen too."""
        return sorted(path.name for path in self.host.pool_directory.iterdir() if path.name.startswith(prefix))

    def virsh(self, *command: str) -> str:
        argv = ["virsh", "-q", "-c", self.host.uri, *command]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout

    def clean_up(self) -> None:
        for name in self.domains():
            subprocess.run(["virsh", "-q", "-c", self.host.uri, "destroy", name], capture_output=True)
            self.virsh("undefine", name)
        for path in self.host.pool_directory.iterdir():
            path.unlink()
        self.virsh("pool-refresh", "default")
