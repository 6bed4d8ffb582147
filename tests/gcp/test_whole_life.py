"""A spec's least role is enough for all that the provider does for it, from the first look to the last sweep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml

from infrakit_providers.gcp import plugin
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import (
    DestroyRequest,
    Examining,
    Grade,
    Permitting,
    Provider,
    ProvisionRequest,
    TagRequest,
    Wanted,
)
from tests.fakes.gce import FakeGCE
from tests.fakes.gce.permissions import ALWAYS
from tests.fakes.gce.settings import SERVICE_ACCOUNT
from tests.fakes.gce.storage import BUCKET
from tests.fakes.gce.storage import PERMISSIONS as STORAGE
from tests.gcp.archives import archive_image
from tests.gcp.ground import LINUX, PROJECT, SETTINGS, fake_gce, image, opened
from tests.gcp.test_permissions import NO_METHOD

CLUSTER: Final = "shop"
FAMILY: Final = f"projects/{PROJECT}/global/images/family/linuxkit"
EVERY_PERMISSION: Final = (
    {permission for some in ALWAYS.values() for permission in some}
    | {f"compute.{one}" for one in NO_METHOD}
    | set(STORAGE)
    | {"compute.instances.setServiceAccount", "compute.instances.setTags", "iam.serviceAccounts.actAs"}
)
"""All that the fake ever asks for."""
KEPT: Final[dict[str, Json]] = {
    "data_disks": [{"name": "data", "size": "10GiB"}],
    "external_ip": "static",
    "internal_ip": "static",
}
WORN: Final[dict[str, Json]] = {
    "backend_services": ["web", "regions/europe-west1/web-internal"],
    "target_pools": ["web"],
    "zones": ["europe-west1-b", "europe-west1-c"],
    "network_tags": ["web"],
    "labels": {"team": "web"},
    "metadata": {"serial-port-enable": "TRUE"},
    "service_account": SERVICE_ACCOUNT,
    "deletion_protection": True,
    "boot_disk": {"size": "20GiB"},
    "disks": [{"size": "10GiB"}],
}
LONG: Final = "what is longer than a label: " + 60 * "x"


def wants(group: str, machine: Mapping[str, Json], *, named: bool = False, of: str = LINUX) -> Wanted:
    return Wanted(group, {"machine_types": "e2-small", **machine}, image(of), 3, named)


def requests(wanted: Wanted, reference: str) -> Iterator[ProvisionRequest]:
    for number in range(wanted.count):
        key = f"{wanted.group}-{number}" if wanted.named else None
        slot = key or str(number)
        token = tags.token(CLUSTER, wanted.group, slot, 0)
        own = {
            tags.CLUSTER: CLUSTER,
            tags.GROUP: wanted.group,
            tags.SLOT: slot,
            tags.INCARNATION: "0",
            tags.TOKEN: token,
            **({tags.LOGICAL_ID: key} if key else {}),
        }
        of = image(reference) if reference else wanted.image
        yield ProvisionRequest(token, slot, own, of, wanted.machine, data_key=key)


def live(provider: Provider, fake: FakeGCE, clock: VirtualClock, wanted: Sequence[Wanted]) -> None:
    """Do everything once that is ever done for a cluster."""
    assert isinstance(provider, Examining)
    resolved = {one.group: provider.resolve(one.image.reference) if one.image.reference else "" for one in wanted}
    examined = [replace(one, image=image(resolved[one.group])) if one.image.reference else one for one in wanted]
    assert [one for one in provider.examine(CLUSTER, examined) if one.grade is Grade.PROBLEM] == []
    for one in examined:
        provider.publish(one.image, lambda done, total: None)
    assert provider.published([one.image for one in examined])
    if any(not one.image.reference for one in wanted):
        assert [one.complete for one in provider.publications()] == [True]
    coming = [request for one in wanted for request in requests(one, resolved[one.group])]
    tickets = provider.arrange(coming)
    coming = [replace(one, ticket=ticket) for one, ticket in zip(coming, tickets, strict=True)]
    for _ in range(2):  # the second time they run, and get what they lack
        outcomes = provider.provision(coming)
        assert [one.error for one in outcomes] == [None] * len(coming)
        clock.sleep(120)
        provider.describe(CLUSTER)
    ids = [one.instance_id for one in outcomes if one.instance_id]
    assert set(provider.lookup(ids)) == set(ids)
    assert all(one.lacks == "" for one in provider.describe(CLUSTER))
    assert [one for one in provider.examine(CLUSTER, examined) if one.grade is Grade.PROBLEM] == []
    drain = [TagRequest(one, CLUSTER, {tags.DRAINING: "1", "why": LONG}, ("tier",)) for one in ids]
    assert [one.error for one in provider.tag(drain)] == [None] * len(ids)
    there = provider.describe(CLUSTER)
    gone = provider.destroy([DestroyRequest(one.id, CLUSTER, one.tags[tags.GROUP]) for one in there])
    assert [one.error for one in gone] == [None] * len(there)
    clock.sleep(120)
    assert all(one.state is InstanceState.GONE for one in provider.describe(CLUSTER))
    assert all(one.error is None for one in provider.sweep(CLUSTER, provider.leftovers(CLUSTER)))
    assert not provider.leftovers(CLUSTER)
    left = fake.picture()
    assert not left["instances"] and not left["disks"] and not left["addresses"]
    assert not any(left["groups"].values())


@pytest.mark.parametrize(
    "wanted",
    [
        [wants("web", {})],
        [wants("web", WORN)],
        [wants("web", {}, of=FAMILY)],
        [wants("web", {"provisioning": "spot", "external_ip": "ephemeral"})],
        [wants("db", KEPT, named=True)],
        [wants("db", {**KEPT, **WORN}, named=True), wants("web", {"deletion_protection": True})],
    ],
    ids=["plain", "with all around it", "an image by family", "spot", "named", "everything"],
)
def test_the_least_role_allows_each_call_of_a_whole_life(wanted: Sequence[Wanted]) -> None:
    live_with_the_least_role(wanted, SETTINGS)


def test_the_least_role_allows_images_to_be_published_and_shared(tmp_path: Path) -> None:
    of = archive_image(tmp_path / "web.tar.gz")
    publish: dict[str, Json] = {"bucket": BUCKET, "family": "web", "labels": {"team": "web"}}
    wanted = [replace(wants("web", {"boot_disk": {"size": "10GiB"}}), image=of)]
    for more in ({}, {"share_with": ["group:web@example.com"]}):
        live_with_the_least_role(wanted, {**SETTINGS, "publish": {**publish, **more}})


def live_with_the_least_role(wanted: Sequence[Wanted], settings: Mapping[str, Json]) -> None:
    assert isinstance(plugin, Permitting)
    role = yaml.safe_load(plugin.permissions(CLUSTER, settings, wanted))
    clock = VirtualClock()
    with fake_gce(clock=clock) as fake:
        for permission in EVERY_PERMISSION - set(role["includedPermissions"]):
            fake.deny(permission)
        provider = opened(clock, settings)
        live(provider, fake, clock, wanted)
        assert (fake.published(), fake.stored()) == ([], [])
        provider.close()
