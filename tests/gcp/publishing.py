"""A project into which images are published, over a line that may break, by any number of processes."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infrakit_providers.gcp import plugin
from infrakit_providers.gcp.published import name_of
from infrakit_py.clock import VirtualClock
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import Provider, ProviderContext
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.storage import BUCKET
from tests.fakes.gce.tables import Image as Made
from tests.fakes.proxy import FaultProxy
from tests.gcp.ground import SETTINGS, credentials

CHANGING: Final = r"^(DELETE|PATCH|PUT|POST(?! [^?]*/token)) "
"""Calls that change anything, at Compute Engine or Cloud Storage."""
PUBLISH: Final[Mapping[str, Json]] = {"bucket": BUCKET}


@dataclass
class Scene:
    """The project, and who publishes there."""

    fake: FakeGCE
    proxy: FaultProxy
    clock: VirtualClock
    root: Path
    cache: Path
    opened: ExitStack = field(default_factory=ExitStack)

    def provider(self, **publish: Json) -> Provider:
        """Open a provider as a new process does: it remembers nothing."""
        settings: dict[str, Json] = {**SETTINGS, "publish": {**PUBLISH, **publish}}
        context = ProviderContext(self.clock, self.root, DiskMaker(Cache(self.cache)))
        provider = plugin.open(settings, context)
        self.opened.callback(provider.close)
        return provider

    def publish(self, image: Image, **publish: Json) -> list[tuple[int, int]]:
        """Publish as a new process does. Return what it told of its progress."""
        told: list[tuple[int, int]] = []
        self.provider(**publish).publish(image, lambda done, total: told.append((done, total)))
        return told

    def made(self, image: Image) -> Made:
        """Return the one image that there is of it. There is no other, and nothing in the bucket."""
        [made] = self.fake.published()
        assert made.name == name_of(image)
        assert made.status == "READY"
        assert self.fake.stored() == []
        assert self.provider().published([image]) == {image.identity}
        return made


@contextmanager
def open_scene(root: Path, cache: Path, settings: FakeSettings | None = None) -> Iterator[Scene]:
    clock = VirtualClock()
    with FakeGCE(settings or FakeSettings(), clock) as fake, FaultProxy(fake.url) as proxy:
        fake.world.storage.url = proxy.url
        with credentials(proxy.url, fake.credentials), ExitStack() as opened:
            yield Scene(fake, proxy, clock, root, cache, opened)
            assert not fake.mistakes, fake.mistakes
