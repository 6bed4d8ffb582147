"""Compute Engine to build on: the fake one, in this process, with credentials that it takes and a provider there."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from infrakit_providers.gcp import plugin
from infrakit_providers.gcp.clients import ENDPOINT_VARIABLE, STORAGE_ENDPOINT_VARIABLE
from infrakit_providers.gcp.labels import read, read_item
from infrakit_py.clock import VirtualClock
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.images.identity import read_image
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import Now, Provider, ProviderContext
from infrakit_py.testing.conformance import ConformanceTarget
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.storage import BUCKET
from tests.gcp.archives import archive_image

PROJECT = "infrakit-test"
REGION = "europe-west1"
LINUX = f"projects/{PROJECT}/global/images/linuxkit-1"
LINUX_2 = f"projects/{PROJECT}/global/images/linuxkit-2"
SETTINGS: Mapping[str, Json] = {"project": PROJECT, "region": REGION, "listing_lag": "0s"}
MACHINE: Mapping[str, Json] = {"machine_types": "e2-small"}
ATTEMPTS = 5
"""So often a call is made before its error leaves the provider."""
UNKNOWN = InstanceId("europe-west1-b/shop-web-aaaaaa-7-0")


def image(reference: str = LINUX, name: str = "linux") -> Image:
    return read_image(name, ImageForm.REFERENCE, {}, reference=reference)


@contextmanager
def credentials(url: str, key_file: Path) -> Iterator[None]:
    """Let every client of this process speak to a server, with a service account that it knows."""
    environment = {
        ENDPOINT_VARIABLE: url,
        STORAGE_ENDPOINT_VARIABLE: url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
        "NO_GCE_CHECK": "true",
    }
    with patch.dict(os.environ, environment):
        yield


@contextmanager
def fake_gce(settings: FakeSettings | None = None, clock: Now | None = None) -> Iterator[FakeGCE]:
    with FakeGCE(settings or FakeSettings(), clock) as fake, credentials(fake.url, fake.credentials):
        yield fake
        assert not fake.mistakes, fake.mistakes


def opened(clock: Now, settings: Mapping[str, Json] = SETTINGS, cache: Path = Path("none")) -> Provider:
    return plugin.open(settings, ProviderContext(clock, Path(), DiskMaker(Cache(cache))))


def tags_of(fake: FakeGCE, name: str) -> dict[str, str]:
    """Return what a machine's labels, name and metadata say to us."""
    more = read_item(fake.metadata_of(name).get("infrakit-tags", "{}"))
    return read(fake.labels_of(name), name, more)


@contextmanager
def fake_target(
    settings: FakeSettings | None = None,
    lag: str = "0s",
    wrap: Callable[[Provider], Provider] = lambda provider: provider,
) -> Iterator[ConformanceTarget]:
    """Open Compute Engine in virtual time as a target of the conformance suite."""
    clock, numbers = VirtualClock(), count(1)
    written = {**SETTINGS, "listing_lag": lag, "publish": {"bucket": BUCKET}}
    with (
        TemporaryDirectory(prefix="images-") as images,
        fake_gce(settings or FakeSettings(boot_seconds=20, delete_seconds=30), clock) as fake,
        ConformanceTarget(
            provider=wrap(opened(clock, written, Path(images))),
            open_another=lambda: wrap(opened(clock, written, Path(images))),
            machine=MACHINE,
            other_machine={"machine_types": "e2-medium"},
            image=image(),
            new_image=lambda: archive_image(Path(images) / "disk.tar.gz", next(numbers)),
            clock=clock,
            unknown_id=UNKNOWN,
            within_seconds=600,
            poll_seconds=1.0,
            plugin=plugin,
            machine_with_disk={"machine_types": "e2-small", "data_disks": [{"name": "data", "size": "10GiB"}]},
            remembers_tokens=True,
            minds_parameters=False,
            stop=lambda id_: fake.kill(id_.split("/")[1]),
            make_foreign=lambda: InstanceId(f"europe-west1-b/{fake.make_foreign()}"),
            lose_reply=lambda: fake.fail("provision", "lost-reply", ATTEMPTS),
            all_tags=lambda: [tags_of(fake, name) for name in fake.names()],
        ) as target,
    ):
        yield target
