"""What was published, who uses it, and what may be deleted of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from infrakit_providers.gcp.published import IDENTITY, name_of, object_name
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import DestroyRequest, Leftover, Outcome, Provider, ProvisionRequest
from tests.fakes.gce.settings import PROJECT
from tests.fakes.gce.storage import BUCKET
from tests.gcp.archives import archive_image
from tests.gcp.ground import LINUX, MACHINE, opened
from tests.gcp.ground import image as of_reference
from tests.gcp.publishing import Scene

DAY: Final = 86_400.0
KEPT: Final[Mapping[str, Json]] = {**MACHINE, "data_disks": [{"name": "data", "size": "10GiB"}]}


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Image:
    return archive_image(tmp_path / "web.tar.gz")


@pytest.fixture(name="provider")
def _provider(scene: Scene, image: Image) -> Provider:
    """Who has published the image."""
    provider = scene.provider()
    provider.publish(image, lambda done, total: None)
    return provider


def request(cluster: str, image: Image, slot: str = "0") -> ProvisionRequest:
    token = tags.token(cluster, "web", slot, 0)
    own = {
        tags.CLUSTER: cluster,
        tags.GROUP: "web",
        tags.SLOT: slot,
        tags.INCARNATION: "0",
        tags.TOKEN: token,
    }
    return ProvisionRequest(token, f"web-{slot}", own, image, MACHINE)


def boot(scene: Scene, provider: Provider, cluster: str, image: Image, *slots: str) -> None:
    requests = [request(cluster, image, slot) for slot in slots or ("0",)]
    assert [one.error for one in provider.provision(requests)] == [None] * len(requests)
    scene.clock.sleep(60)


def destroy(scene: Scene, provider: Provider, cluster: str) -> None:
    there = provider.describe(cluster)
    gone = provider.destroy([DestroyRequest(one.id, cluster, "web") for one in there])
    assert [one.error for one in gone] == [None] * len(there)
    scene.clock.sleep(60)


def errors(outcomes: Sequence[Outcome]) -> list[str]:
    return [str(one.error or "") for one in outcomes]


def leave(scene: Scene, name: str, prefix: str = "infrakit/") -> None:
    scene.fake.world.storage.put(BUCKET, object_name(name, prefix), b"half")


def test_what_is_published_is_told_with_its_size_and_age(scene: Scene, provider: Provider, image: Image) -> None:
    [one] = provider.publications()
    made = scene.made(image)
    expected = Publication(
        name_of(image), image.identity, name_of(image), len(made.archive), made.created_at, in_use=False
    )
    assert one == expected


def test_an_image_is_in_use_as_long_as_any_machine_was_made_from_it(
    scene: Scene, provider: Provider, image: Image
) -> None:
    boot(scene, provider, "shop", image, "0", "1")
    scene.fake.kill(scene.fake.names()[0])
    [one] = provider.publications()
    assert one.in_use
    [refused] = errors(provider.unpublish([one]))
    assert f"image {name_of(image)} is still used by shop-web-" in refused
    scene.made(image)
    destroy(scene, provider, "shop")
    [one] = provider.publications()
    assert not one.in_use
    assert errors(provider.unpublish([one])) == [""]
    assert (provider.publications(), scene.fake.published()) == ([], [])


def test_to_unpublish_again_is_fine(provider: Provider) -> None:
    [one] = provider.publications()
    assert [errors(provider.unpublish([one, one])) for _ in range(2)] == [["", ""]] * 2


def test_an_image_that_was_unpublished_elsewhere_is_published_by_who_still_knew_it(
    scene: Scene, provider: Provider, image: Image
) -> None:
    other = scene.provider()
    assert provider.published([image]) == {image.identity}
    assert errors(other.unpublish(other.publications())) == [""]
    [outcome] = provider.provision([request("shop", image)])
    assert "not be found" in str(outcome.error)
    assert provider.published([image]) == frozenset(), "the refusal told nothing"
    provider.publish(image, lambda done, total: None)
    boot(scene, provider, "shop", image)


def test_images_of_others_are_neither_told_of_nor_deleted(scene: Scene, image: Image) -> None:
    scene.fake.add_image(name_of(image))
    scene.fake.add_image("web")
    scene.fake.world.images[PROJECT, "web"].labels[IDENTITY] = "abc"
    provider = scene.provider()
    assert provider.publications() == []
    theirs = [Publication(name, "", name) for name in (name_of(image), "web", "linuxkit-1")]
    for outcome in provider.unpublish(theirs):
        assert isinstance(outcome.error, NotOurs)
    assert {name_of(image), "web", "linuxkit-1"} <= {name for _, name in scene.fake.world.images}


def test_what_was_cut_short_is_told_and_deleted(scene: Scene, provider: Provider, image: Image) -> None:
    scene.fake.world.images[PROJECT, name_of(image)].status = "FAILED"
    leave(scene, name_of(image))
    [one] = provider.publications()
    assert not one.complete
    assert errors(provider.unpublish([one])) == [""]
    assert (scene.fake.published(), scene.fake.stored()) == ([], [])


def test_an_object_is_a_leftover_once_it_is_too_old_to_be_on_its_way(scene: Scene, image: Image) -> None:
    provider = scene.provider()
    leave(scene, name_of(image))
    assert provider.publications() == []
    scene.clock.sleep(DAY + 1)
    [one] = provider.publications()
    assert (one.complete, one.in_use) == (False, False)
    assert image.identity.startswith(one.identity)
    assert errors(provider.unpublish([one])) == [""]
    assert scene.fake.stored() == []


def test_objects_of_others_in_the_bucket_are_left_alone(scene: Scene, image: Image) -> None:
    leave(scene, name_of(image), prefix="other/")
    leave(scene, "backup")
    scene.clock.sleep(DAY + 1)
    provider = scene.provider()
    assert provider.publications() == []
    for id_ in (f"gs://{BUCKET}/infrakit/backup.tar.gz", f"gs://else/infrakit/{name_of(image)}.tar.gz"):
        [outcome] = provider.unpublish([Publication(id_, "", "")])
        assert isinstance(outcome.error, NotOurs)
    assert len(scene.fake.stored()) == 2


def test_a_zone_that_does_not_answer_leaves_every_image_alone(scene: Scene, provider: Provider, image: Image) -> None:
    [one] = provider.publications()
    scene.fake.lose_zone("b", unasked=True)
    [outcome] = provider.unpublish([one])
    assert isinstance(outcome.error, ProviderError)
    scene.made(image)


def test_what_no_other_cluster_uses_is_a_leftover(
    scene: Scene, provider: Provider, image: Image, tmp_path: Path
) -> None:
    other = archive_image(tmp_path / "other.tar.gz", 2)
    provider.publish(other, lambda done, total: None)
    boot(scene, provider, "shop", image)
    boot(scene, provider, "yard", other)
    boot(scene, provider, "yard", of_reference(LINUX), "1")
    assert [one.id for one in provider.leftovers("shop")] == [name_of(image)]
    assert sorted(one.id for one in provider.leftovers("none")) == []
    destroy(scene, provider, "shop")
    assert errors(provider.sweep("shop", provider.leftovers("shop"))) == [""]
    assert [one.name for one in scene.fake.published()] == [name_of(other)]


def test_an_image_that_is_being_made_is_no_leftover(scene: Scene, provider: Provider, image: Image) -> None:
    scene.fake.world.images[PROJECT, name_of(image)].status = "PENDING"
    assert provider.leftovers("shop") == []
    scene.fake.world.images[PROJECT, name_of(image)].status = "FAILED"
    assert [one.id for one in provider.leftovers("shop")] == [name_of(image)]
    scene.fake.world.images[PROJECT, name_of(image)].status = "PENDING"
    scene.clock.sleep(DAY + 1)
    assert [one.id for one in provider.leftovers("shop")] == [name_of(image)]


def test_disks_and_images_are_swept_together(scene: Scene, provider: Provider, image: Image) -> None:
    own = {**request("shop", image).tags, tags.SLOT: "db-1", tags.LOGICAL_ID: "db-1"}
    named = ProvisionRequest(own[tags.TOKEN], "db-1", own, image, KEPT, data_key="db-1")
    assert [one.error for one in provider.provision([named])] == [None]
    scene.clock.sleep(60)
    left = provider.leftovers("shop")
    assert [one.kind for one in left] == ["data disk", "image"]
    mixed = [left[1], left[0], Leftover("b", "image", "b"), left[1]]
    assert all(errors(provider.sweep("shop", mixed))), "all of it is in use, or somebody else's"
    destroy(scene, provider, "shop")
    assert [bool(error) for error in errors(provider.sweep("shop", mixed))] == [False, False, True, False]
    assert (provider.leftovers("shop"), scene.fake.disks()) == ([], [])


def test_who_publishes_nothing_asks_for_no_images_to_sweep(scene: Scene, provider: Provider) -> None:
    plain = opened(scene.clock)
    assert plain.leftovers("shop") == []
    assert [one.complete for one in plain.publications()] == [True], "it is there all the same"
    plain.close()
