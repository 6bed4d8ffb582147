"""Images as they come into a project: what is made of them, by whom, and what is left when something goes wrong."""

import logging
import sys
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Final

import pytest

from infrakit_providers.gcp.labels import value_of
from infrakit_providers.gcp.published import COMPLETE, IDENTITY, name_of, object_name
from infrakit_providers.gcp.upload import CHUNK
from infrakit_py.cli.options import configure_logging
from infrakit_py.errors import PluginError, ProviderError, Transient
from infrakit_py.images import read_image
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.spi.images import DiskFormat
from tests.fakes.gce.settings import PROJECT
from tests.fakes.gce.storage import BUCKET
from tests.fakes.gce.tables import Image as Made
from tests.fakes.proxy import DropReply, DropRequest, Effect, Say, Tap
from tests.gcp.archives import GIB, archive_image
from tests.gcp.ground import opened
from tests.gcp.publishing import CHANGING, Scene
from tests.images_room.material import kernel_image

pytestmark = pytest.mark.disks

EMPTY: Final = bytes(2**24)
USER: Final = "roles/compute.imageUser"
LARGE: Final = 2 * CHUNK + 3_000_000
KEY: Final = "projects/keys-1/locations/global/keyRings/disks/cryptoKeys/web"
BROKEN: Final = Say(503, '{"error": {"code": 503, "message": "try again"}}', "application/json")
EFFECTS: Final[Mapping[str, Effect]] = {"request lost": DropRequest(), "reply lost": DropReply(), "refused": BROKEN}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Image:
    return archive_image(tmp_path / "web.tar.gz")


def bodies(scene: Scene) -> list[bytes]:
    """Return all parts that were sent, whatever became of them."""
    return [one.call.body for one in scene.proxy.calls("^PUT ")]


def put(scene: Scene, image: Image, data: bytes) -> None:
    """Let an object be where the image's is uploaded to."""
    scene.fake.world.storage.put(BUCKET, object_name(name_of(image), "infrakit/"), data)


def found_broken(scene: Scene, image: Image, status: str) -> None:
    """Let an image be there that somebody began to make."""
    labels = {IDENTITY: label_of(image)}
    made = Made(PROJECT, name_of(image), "7", scene.clock.now(), status=status, labels=labels)
    scene.fake.world.images[PROJECT, made.name] = made


def take_away(scene: Scene) -> None:
    with scene.fake.world.lock:
        scene.fake.world.storage.objects[BUCKET].clear()


def label_of(image: Image) -> str:
    return value_of(image.identity) or ""


def test_a_kernel_becomes_an_image_whose_disk_is_the_one_that_was_made_bit_for_bit(scene: Scene) -> None:
    image = kernel_image(scene.root)
    scene.publish(image)
    made = scene.made(image)
    disks = DiskMaker(Cache(scene.cache))
    assert sha256(made.archive).hexdigest() == disks.disk(image, DiskFormat.GCP).sha256
    raw = Path(disks.disk(image, DiskFormat.RAW).path).read_bytes()
    with tarfile.open(fileobj=BytesIO(made.archive)) as archive:
        disk = archive.extractfile("disk.raw")
        assert disk is not None
        assert disk.read(len(raw)) == raw
        size = len(raw)
        while block := disk.read(len(EMPTY)):
            assert block == EMPTY[: len(block)], "what follows the disk is not empty"
            size += len(block)
    assert size == GIB


def test_an_image_says_what_it_is(scene: Scene, image: Image) -> None:
    scene.publish(
        image,
        family="web",
        guest_os_features=["UEFI_COMPATIBLE", "GVNIC"],
        storage_locations=["eu"],
        kms_key=KEY,
        labels={"team": "web"},
    )
    made = scene.made(image)
    assert (made.family, made.arch, made.size_gb) == ("web", "X86_64", 1)
    assert made.features == ("UEFI_COMPATIBLE", "GVNIC")
    assert (made.locations, made.kms_key) == (("eu",), KEY)
    assert made.labels == {"team": "web", IDENTITY: label_of(image), COMPLETE: "yes"}
    assert image.identity in made.description


def test_a_disk_that_a_bios_boots_is_not_taken_for_one_with_uefi(scene: Scene) -> None:
    image = kernel_image(scene.root)
    scene.publish(image, guest_os_features=["UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE"])
    assert scene.made(image).features == ("VIRTIO_SCSI_MULTIQUEUE",)


def test_the_same_content_by_another_name_is_the_same_image(scene: Scene, image: Image) -> None:
    scene.publish(image)
    same = read_image("other", ImageForm.DISK, {"disk": Path(image.files["disk"].path)}, disk_format="gcp")
    assert scene.publish(same) == []
    scene.made(image)
    assert scene.fake.calls["images.insert"] == 1


def test_progress_is_told_part_by_part(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "large.tar.gz", noise=LARGE)
    assert scene.publish(image) == [(at, image.size) for at in (CHUNK, 2 * CHUNK, image.size)]


def test_a_part_whose_answer_was_lost_is_not_sent_again(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "large.tar.gz", noise=LARGE)
    scene.proxy.add("^PUT ", DropReply(), first=2)
    scene.publish(image)
    assert scene.made(image).archive == Path(image.files["disk"].path).read_bytes()
    assert sum(map(len, bodies(scene))) == image.size


def test_what_cloud_storage_did_not_take_of_a_part_is_sent_again(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "large.tar.gz", noise=LARGE)
    scene.fake.world.storage.keeps += [CHUNK // 2]
    scene.publish(image)
    assert scene.made(image).archive == Path(image.files["disk"].path).read_bytes()
    assert sum(map(len, bodies(scene))) == image.size + CHUNK // 2


def test_an_upload_that_nobody_knows_any_more_begins_anew(scene: Scene, tmp_path: Path) -> None:
    image = archive_image(tmp_path / "large.tar.gz", noise=LARGE)
    gone = Say(410, "", "text/plain")
    scene.proxy.add("^PUT ", gone, first=2)
    told = scene.publish(image)
    assert told == sorted(set(told)), "progress went backwards"
    assert scene.made(image).archive == Path(image.files["disk"].path).read_bytes()


def test_what_is_uploaded_already_is_not_uploaded_again(scene: Scene, image: Image) -> None:
    put(scene, image, Path(image.files["disk"].path).read_bytes())
    scene.publish(image)
    scene.made(image)
    assert bodies(scene) == []


@pytest.mark.parametrize("same_size", [True, False])
def test_an_object_with_other_content_is_replaced(scene: Scene, image: Image, same_size: bool) -> None:
    content = Path(image.files["disk"].path).read_bytes()
    put(scene, image, content[:-1] + b"?" if same_size else content[:1000])
    scene.publish(image)
    assert scene.made(image).archive == content


def test_an_object_that_somebody_else_was_quicker_with_is_not_written_again(scene: Scene, image: Image) -> None:
    content = Path(image.files["disk"].path).read_bytes()
    scene.proxy.add("^PUT ", Tap(lambda _: put(scene, image, content)))
    scene.publish(image)
    scene.made(image)
    sessions = scene.fake.world.storage.sessions.values()
    assert [one.made for one in sessions if one.made is not None] == []


def test_an_archive_that_is_not_what_it_was_goes_nowhere(scene: Scene, image: Image) -> None:
    path = Path(image.files["disk"].path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ProviderError, match=r"web.tar.gz has changed since it was read"):
        scene.publish(image)
    assert (scene.fake.published(), scene.fake.stored()) == ([], [])
    assert scene.fake.world.storage.sessions == {}, "an upload was left open"


def test_an_import_that_fails_says_why_and_leaves_nothing(scene: Scene, image: Image) -> None:
    scene.fake.fail_import("The disk has no partition table.")
    with pytest.raises(ProviderError, match=r"cannot make image infrakit-.*: The disk has no partition table"):
        scene.publish(image)
    assert (scene.fake.published(), scene.fake.stored()) == ([], [])
    scene.publish(image)
    scene.made(image)


def test_an_image_that_failed_under_somebody_else_is_made_again(scene: Scene, image: Image) -> None:
    found_broken(scene, image, "FAILED")
    scene.publish(image)
    scene.made(image)


def test_an_image_that_somebody_else_makes_is_waited_for_and_no_longer_than_half_an_hour(
    scene: Scene, image: Image
) -> None:
    found_broken(scene, image, "PENDING")
    before = scene.clock.now()
    with pytest.raises(Transient, match="is still PENDING"):
        scene.publish(image)
    assert 1800 <= scene.clock.now() - before < 1810
    assert scene.fake.calls["images.insert"] == 0


def test_an_image_of_that_name_that_is_somebody_else_s_is_left_alone(scene: Scene, image: Image) -> None:
    scene.fake.add_image(name_of(image))
    with pytest.raises(ProviderError, match=f"there is an image {name_of(image)}, and its labels do not say"):
        scene.publish(image)
    assert scene.provider().published([image]) == frozenset()
    assert scene.fake.world.images[PROJECT, name_of(image)].labels == {}


def test_an_image_is_published_only_when_nothing_is_left_to_be_done(scene: Scene, image: Image) -> None:
    scene.proxy.add("setLabels", BROKEN, times=None)
    with pytest.raises(Transient):
        scene.publish(image)
    assert [one.status for one in scene.fake.published()] == ["READY"]
    assert scene.provider().published([image]) == frozenset()
    scene.proxy.clear()
    put(scene, image, b"left by somebody who was killed")
    scene.publish(image)
    scene.made(image)
    assert scene.fake.calls["images.insert"] == 1


def test_who_is_killed_while_all_is_uploaded_leaves_what_the_next_one_uses(scene: Scene, image: Image) -> None:
    scene.proxy.add(r"^POST [^?]*/global/images\?", BROKEN, times=None)
    with pytest.raises(Transient):
        scene.publish(image)
    assert len(scene.fake.stored()) == 1, "what may be tried again needs its object"
    scene.proxy.clear()
    scene.publish(image)
    scene.made(image)
    assert scene.fake.world.storage.calls["objects.insert"] == 1


def test_what_is_not_allowed_leaves_no_object(scene: Scene, image: Image) -> None:
    scene.fake.deny("compute.images.create")
    with pytest.raises(ProviderError, match=r"compute\.images\.create"):
        scene.publish(image)
    assert scene.fake.stored() == []


def test_a_bucket_that_there_is_not_is_named(scene: Scene, image: Image) -> None:
    with pytest.raises(ProviderError, match=r"to bucket nobodys: .*The specified bucket does not exist"):
        scene.publish(image, bucket="nobodys")


def test_an_object_that_somebody_else_took_away_is_uploaded_again(scene: Scene, image: Image) -> None:
    """As when two make an image, and one of them gives up just before the other is about to import."""
    scene.proxy.add(r"^POST [^?]*/global/images\?", Tap(lambda _: take_away(scene)))
    scene.publish(image)
    scene.made(image)
    assert scene.fake.world.storage.calls["objects.insert"] == 2


def test_labels_that_somebody_sets_meanwhile_are_kept(scene: Scene, image: Image) -> None:
    scene.proxy.add("setLabels", Tap(lambda _: scene.fake.world.images[PROJECT, name_of(image)].labels.update(a="b")))
    scene.publish(image)
    assert scene.made(image).labels["a"] == "b"


def test_without_the_library_of_cloud_storage_it_is_said_what_to_install(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(PluginError, match="google-cloud-storage is not installed") as caught:
        scene.provider()
    assert caught.value.hint == "pip install 'infrakit-py[gcp]'"
    opened(scene.clock).close()  # who publishes nothing can do without


def test_images_are_shared_beside_those_who_may_use_them_already(scene: Scene, image: Image) -> None:
    member = "serviceAccount:ci@other-1.iam.gserviceaccount.com"
    scene.publish(image, share_with=[member, "group:web@example.com"])
    made = scene.made(image)
    assert made.bindings == [{"role": USER, "members": ["group:web@example.com", member]}]
    del made.labels[COMPLETE]
    theirs: list[Mapping[str, Any]] = [
        {"role": USER, "members": ["user:me@example.com"]},
        {"role": "roles/viewer", "members": ["user:you@example.com"], "condition": {"expression": "true"}},
    ]
    made.bindings = list(theirs)
    scene.publish(image, share_with=[member])
    assert made.bindings == [*theirs, {"role": USER, "members": [member]}]


def test_publishers_at_the_same_time_make_one_image(scene: Scene, image: Image) -> None:
    together(lambda: scene.publish(image), times=6)
    scene.made(image)
    assert len(scene.fake.operations("insert")) == 1


def test_an_image_that_was_unpublished_is_published_again_at_once(scene: Scene, image: Image) -> None:
    provider = scene.provider()
    for _ in range(2):
        provider.publish(image, lambda done, total: None)
        scene.made(image)
        assert [one.error for one in provider.unpublish(provider.publications())] == [None]
        assert provider.published([image]) == frozenset()


@pytest.mark.parametrize("larger", [0, 2 * GIB])
def test_an_image_in_another_size_is_another_image(scene: Scene, larger: int) -> None:
    image = kernel_image(scene.root)
    other = Image(image.name, image.identity, image.form, image.files, cmdline=image.cmdline, disk_size=larger)
    scene.publish(image)
    assert scene.provider().published([image, other]) == (frozenset() if larger else {image.identity})


@pytest.mark.parametrize("effect", EFFECTS)
def test_each_call_that_goes_wrong_once_costs_nothing_but_time(effect: str, scene: Scene, image: Image) -> None:
    for number in count(1):
        rule = scene.proxy.add(CHANGING, EFFECTS[effect], first=number)
        scene.publish(image)
        scene.made(image)
        scene.proxy.clear()
        provider = scene.provider()
        assert [one.error for one in provider.unpublish(provider.publications())] == [None]
        if rule.seen < number:
            break
    assert number > 5, "few calls were struck"


def together(work: Callable[[], object], times: int) -> None:
    """Do it several times at once. The first error of any is raised."""
    barrier, errors = Barrier(times), list[BaseException]()

    def run() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as exc:  # noqa: BLE001  # it is raised where the others have ended
            errors.append(exc)

    threads = [Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
