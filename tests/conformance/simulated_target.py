"""The simulated provider as a target of the conformance suite."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from infrakit_providers.simulated import plugin
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json
from infrakit_py.spi.provider import Now, Provider, ProviderContext
from infrakit_py.testing.conformance import ConformanceTarget


def numbered_image(number: int) -> Image:
    """Return an image that no other number gives, without files behind it."""
    digest = hashlib.sha256(f"image {number}".encode()).hexdigest()
    files = {"kernel": ImageFile("kernel", digest, 4_000_000), "initrd": ImageFile("initrd", digest, 9_000_000)}
    return Image(f"image-{number}", digest, ImageForm.KERNEL, files)


@contextmanager
def simulated_target(
    directory: Path,
    clock: Now,
    settings: Mapping[str, Json],
    within_seconds: float,
    wrap: Callable[[Provider, SimCloud], Provider] = lambda provider, _: provider,
) -> Iterator[ConformanceTarget]:
    """Open a simulated cloud in a file, with every capability that the suite can make use of."""
    context, numbers = ProviderContext(clock, directory), count(1)
    cloud = SimCloud(SimSettings.model_validate(dict(settings)), clock, directory / ".infrakit/simulated.db")
    target = ConformanceTarget(
        provider=wrap(plugin.open(settings, context), cloud),
        open_another=lambda: wrap(plugin.open(settings, context), cloud),
        machine={"type": "small"},
        other_machine={"type": "large"},
        machine_with_disk={"data_disk": "1GiB"},
        image=numbered_image(0),
        new_image=lambda: numbered_image(next(numbers)),
        clock=clock,
        unknown_id=InstanceId("i-00000000000000000"),
        within_seconds=within_seconds,
        poll_seconds=0.02,
        plugin=plugin,
        remembers_tokens=True,
        minds_parameters=True,
        stop=cloud.stop,
        make_foreign=lambda: InstanceId(cloud.add_foreign("theirs", {"Name": "somebody else's"})),
        all_tags=lambda: [machine.tags for machine in cloud.everything()],
        lose_reply=lambda: cloud.fail(Call.PROVISION, Fault.LOST_REPLY),
        cut_short=lambda: cloud.fail(Call.PROVISION, Fault.CUT_SHORT),
    )
    try:
        with target:
            yield target
    finally:
        cloud.close()
