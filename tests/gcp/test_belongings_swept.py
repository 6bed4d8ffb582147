"""What named members keep is deleted when nobody uses it, and when it is ours."""

from collections.abc import Iterator

import pytest

from infrakit_py.errors import IncompleteView, NotOurs, Transient
from infrakit_py.spi.provider import Leftover
from tests.fakes.gce import FakeSettings
from tests.gcp.ground import REGION
from tests.gcp.keeping import CLUSTER, DISKED, EXPOSED, GROUP, OWNER, WHOLE, B, Scene, staged


@pytest.fixture
def scene() -> Iterator[Scene]:
    with staged() as scene:
        yield scene


def test_all_that_is_kept_is_left_over_and_nothing_else(scene: Scene) -> None:
    scene.boot(scene.request(cluster="other"), WHOLE)
    scene.boot(scene.request(), WHOLE)
    scene.clock.sleep(5)
    left = scene.belongings.leftovers(CLUSTER)
    external, internal = sorted(
        (f"db-1: {one.ip}" for one in scene.fake.addresses() if one.name.startswith("shop-")),
    )
    assert [(one.kind, one.name, one.group, one.holds_data) for one in left] == [
        ("data disk", "db-1: data", GROUP, True),
        ("data disk", "db-1: logs", GROUP, True),
        ("address", external, GROUP, False),
        ("address", internal, GROUP, False),
    ]
    assert scene.another("europe-north1").leftovers(CLUSTER) == []


def test_an_address_that_never_got_its_labels_is_left_over_all_the_same(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), EXPOSED, B)
    scene.addresses()["EXTERNAL"].labels.clear()
    left = scene.belongings.leftovers(CLUSTER)
    assert [one.error for one in scene.belongings.sweep(CLUSTER, left)] == [None]
    assert scene.addresses() == {}


def test_what_a_machine_uses_is_not_swept(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    left = scene.belongings.leftovers(CLUSTER)
    name = id_.partition("/")[2]
    assert [f"in use by {name}" in str(one.error) for one in scene.belongings.sweep(CLUSTER, left)] == [True] * 4
    assert scene.lacking(id_) == {}
    assert scene.holders() == {name}


def test_what_a_machine_is_about_to_get_is_not_swept(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    scene.detach(id_, "logs")
    left = scene.belongings.leftovers(CLUSTER)
    assert all("in use by" in str(one.error) for one in scene.belongings.sweep(CLUSTER, left))
    scene.complete(request, DISKED, id_)
    assert scene.lacking(id_) == {}


@pytest.mark.parametrize("accept", [0, 30], ids=["known by its id", "not known at all"])
def test_what_a_machine_gets_that_no_listing_shows_yet_is_not_swept(accept: float) -> None:
    with staged(FakeSettings(boot_seconds=60, delete_seconds=10, listing_lag=60, accept_seconds=accept)) as scene:
        scene.belongings.prepare(scene.request(), EXPOSED, B)
        scene.clock.sleep(5)
        left = scene.belongings.leftovers(CLUSTER)
        id_ = scene.launch(scene.request(), EXPOSED)
        assert all(one.error for one in scene.belongings.sweep(CLUSTER, left, new=[id_]))
        assert scene.addresses()


def test_what_nobody_can_tell_about_is_not_swept(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    left = scene.belongings.leftovers(CLUSTER)
    scene.fake.lose_zone("c", unasked=True)
    assert all(isinstance(one.error, IncompleteView) for one in scene.belongings.sweep(CLUSTER, left))
    assert set(scene.kept_disks()) == {"data", "logs"}


def test_sweeping_nothing_costs_no_call(scene: Scene) -> None:
    assert scene.belongings.sweep(CLUSTER, []) == []
    assert not scene.fake.calls


def test_what_nobody_uses_any_more_is_gone_when_it_is_swept(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    left = scene.belongings.leftovers(CLUSTER)
    for _ in range(2):  # gone already is fine
        assert [one.error for one in scene.belongings.sweep(CLUSTER, left)] == [None] * 4
    assert scene.belongings.leftovers(CLUSTER) == []
    assert not (scene.fake.disks() or scene.fake.addresses())


@pytest.mark.parametrize("method", ["disks.delete", "addresses.delete"])
def test_a_lost_reply_spoils_no_sweep(scene: Scene, method: str) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    scene.fake.fail(method, "lost-reply")
    left = scene.belongings.leftovers(CLUSTER)
    assert [one.error for one in scene.belongings.sweep(CLUSTER, left)] == [None] * 4
    assert not (scene.fake.disks() or scene.fake.addresses())


@pytest.mark.parametrize("change", ["disks.delete", "addresses.delete"])
def test_what_somebody_else_deletes_at_the_same_time_is_gone_and_fine(scene: Scene, change: str) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    left = scene.belongings.leftovers(CLUSTER)
    scene.caller.before[change] = lambda: scene.another().sweep(CLUSTER, left)
    for one in left:
        assert [one.error for one in scene.belongings.sweep(CLUSTER, [one])] == [None]
    assert not (scene.fake.disks() or scene.fake.addresses())


def test_a_deletion_that_takes_too_long_is_no_success_yet() -> None:
    with staged(FakeSettings(boot_seconds=2, operation_seconds=100)) as scene:
        id_ = scene.boot(scene.request(), DISKED)
        scene.end(id_)
        began = scene.clock.now()
        outcomes = scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER))
        assert all(isinstance(one.error, Transient) for one in outcomes)
        assert scene.clock.now() - began < 90
        scene.clock.sleep(100)
        assert scene.kept_disks() == {}


def test_what_is_not_of_the_cluster_is_not_swept(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), WHOLE))
    left = scene.belongings.leftovers(CLUSTER)
    assert all(isinstance(one.error, NotOurs) for one in scene.belongings.sweep("other", left))
    assert scene.belongings.leftovers(CLUSTER) == left


def test_what_was_never_kept_is_not_swept(scene: Scene) -> None:
    """A boot disk carries its machine's labels, and an address nothing of ours."""
    name = scene.boot(scene.request(), WHOLE).partition("/")[2]
    scene.by_hand("disks", "insert", zone=B, disk_resource={"name": "free", "size_gb": 10, "labels": OWNER})
    scene.by_hand("addresses", "insert", region=REGION, address_resource={"name": "free"})
    left = [
        Leftover(f"{B}/free", "data disk", "x"),
        Leftover(f"{B}/{name}", "data disk", "x"),
        Leftover(f"{REGION}/free", "address", "x"),
        Leftover(f"{B}/free", "image", "x"),
    ]
    assert not {one.id for one in left} & {one.id for one in scene.belongings.leftovers(CLUSTER)}
    assert all(one.error is not None for one in scene.belongings.sweep(CLUSTER, left))
    assert {(B, "free"), (B, name)} <= {(one.zone, one.name) for one in scene.fake.disks()}


def test_one_thing_in_use_spoils_nothing_else(scene: Scene) -> None:
    scene.boot(scene.request(), DISKED)
    scene.end(scene.boot(scene.request(key="db-2"), DISKED))
    outcomes = scene.belongings.sweep(CLUSTER, scene.belongings.leftovers(CLUSTER))
    assert [one.error is None for one in outcomes] == [False, False, True, True]
