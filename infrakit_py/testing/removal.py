"""The contract's sentences about destroying, and about what outlives a machine."""

from dataclasses import replace
from functools import partial

from infrakit_py.errors import NotOurs
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.model.spec import Image
from infrakit_py.spi.images import IDENTITY_DIGITS, Publication
from infrakit_py.spi.provider import DestroyRequest, Leftover
from infrakit_py.testing.target import THREADS, ConformanceTarget, together, unobserved


class Removal:
    """Tests of `destroy`."""

    def test_destroyed_instances_go(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        ids = target.boot(*(target.request(cluster, slot) for slot in range(3)))
        outcomes = target.destroy_each([DestroyRequest(id_, cluster, "web") for id_ in ids[:2]])
        assert [outcome.error for outcome in outcomes] == [None, None], f"destroy refused: {outcomes}"
        assert _go(target, *ids[:2]), "destroyed machines never go"
        target.clock.sleep(target.provider.listing_lag_seconds)
        assert [one.id for one in target.listed(cluster)] == ids[2:], "describe shows the gone, or lost the living"

    def test_destroying_again_is_a_success(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        request = DestroyRequest(id_, cluster, "web")
        outcomes = target.destroy_each([request, request])
        assert _go(target, id_), "the destroyed machine never goes"
        outcomes += target.destroy_each([request, DestroyRequest(target.unknown_id, cluster, "web")])
        assert [outcome.error for outcome in outcomes] == [None] * 4, (
            f"an instance that is being destroyed, is gone, or is forgotten must be a success: {outcomes}"
        )

    def test_destroying_from_many_threads_is_a_success(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        request = DestroyRequest(id_, cluster, "web")
        outcomes = together([lambda: target.destroy_each([request])[0]] * THREADS)
        refused = [one.error for one in outcomes if one.error and not one.error.retryable]
        assert not refused, f"concurrent calls to destroy one machine must succeed: {refused}"
        assert _go(target, id_), "the destroyed machine never goes"

    def test_destroy_of_nothing_does_nothing(self, target: ConformanceTarget) -> None:
        assert list(target.provider.destroy([])) == [], "a batch of none must have no outcomes"

    def test_what_is_not_ours_is_not_destroyed(self, target: ConformanceTarget) -> None:
        cluster, other = target.new_cluster(), target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        wrong = [DestroyRequest(id_, other, "web"), DestroyRequest(id_, cluster, "db"), DestroyRequest(id_, "", "")]
        for request in wrong:
            (outcome,) = target.destroy_each([request])
            assert isinstance(outcome.error, NotOurs), f"{request} must be NotOurs, as the tags say: {outcome}"
        assert _lives(target, id_), "a machine was destroyed on behalf of a cluster or group that it is not of"

    def test_a_foreign_machine_is_not_destroyed(self, target: ConformanceTarget) -> None:
        foreign = target.needs(target.make_foreign, "cannot make foreign machines")()
        for cluster, group in ((target.new_cluster(), "web"), ("", "")):
            (outcome,) = target.destroy_each([DestroyRequest(foreign, cluster, group)])
            assert isinstance(outcome.error, NotOurs), f"a machine without our tags must be NotOurs: {outcome}"
        assert target.provider.lookup([foreign]).get(foreign, "cannot tell"), "a foreign machine was destroyed"

    def test_one_refused_request_spoils_no_other_of_a_batch(self, target: ConformanceTarget) -> None:
        cluster, other = target.new_cluster(), target.new_cluster()
        first, second, third = target.boot(*(target.request(cluster, slot) for slot in range(3)))
        (theirs,) = target.boot(target.request(other))
        victims = (first, theirs, second, target.unknown_id, third)
        outcomes = target.destroy_each([DestroyRequest(id_, cluster, "web") for id_ in victims])
        errors = [outcome.error for outcome in outcomes]
        assert isinstance(errors[1], NotOurs), f"the second outcome must be the second request's, NotOurs: {errors}"
        assert errors[::2] == [None] * 3, f"one refused request spoiled others: {errors}"
        assert errors[3] is None, f"an instance that is gone already must be a success: {errors[3]!r}"
        assert _go(target, first, second, third), "accepted, but the machines never go"
        assert _lives(target, theirs), "a machine of another cluster was destroyed"

    def test_a_stopped_machine_can_be_destroyed(self, target: ConformanceTarget) -> None:
        stop = target.needs(target.stop, "cannot stop a machine from outside")
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        stop(id_)
        (outcome,) = target.destroy_each([DestroyRequest(id_, cluster, "web")])
        assert outcome.error is None and _go(target, id_), f"a machine that does not run must go as well: {outcome}"


class Keeping:
    """Tests of images, data disks, `leftovers` and `sweep`."""

    def test_an_image_is_published_once_it_was_made_so(self, target: ConformanceTarget) -> None:
        image, progress = _new_image(target), list[tuple[int, int]]()
        asked = [image, target.image]
        assert target.provider.published(asked) == {target.image.identity}, "published must tell what can be booted"
        assert target.provider.published([]) == frozenset(), "published must tell of no image that was not asked for"
        target.provider.publish(image, lambda done, total: progress.append((done, total)))
        assert target.provider.published(asked) == {image.identity, target.image.identity}, "publish did not publish"
        assert all(0 <= done <= total for done, total in progress), f"more than all was published: {progress}"
        assert progress == sorted(progress), f"progress went backwards: {progress}"
        target.boot(replace(target.request(target.new_cluster()), image=image))

    def test_publishing_again_changes_nothing(self, target: ConformanceTarget) -> None:
        image = _new_image(target)
        for _ in range(2):
            target.provider.publish(image, unobserved)
            assert target.provider.published([image]) == {image.identity}, "publish must be idempotent"

    def test_publishing_at_the_same_time_is_fine(self, target: ConformanceTarget) -> None:
        image = _new_image(target)
        providers = [target.provider, target.provider, target.another(), target.another()]
        together([partial(one.publish, image, unobserved) for one in providers])
        assert target.provider.published([image]) == {image.identity}, "publish must be idempotent under concurrency"

    def test_nothing_remains_of_a_cluster_without_disks(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        (id_,) = target.boot(target.request(cluster))
        target.destroy_each([DestroyRequest(id_, cluster, "web")])
        assert _go(target, id_), "the destroyed machine never goes"
        remains = [one for one in target.provider.leftovers(cluster) if one.holds_data or one.group]
        assert not remains, f"destroy must take all that is a machine's alone: {remains}"

    def test_a_data_disk_outlives_its_machine_and_finds_the_next(self, target: ConformanceTarget) -> None:
        cluster = target.new_cluster()
        first, second = target.named_request(cluster, "db-1"), target.named_request(cluster, "db-2")
        ids = target.boot(first, second)
        disks = _disks(target, cluster)
        assert len({disk.id for disk in disks}) == 2, f"two named machines must have two data disks: {disks}"
        assert {disk.group for disk in disks} == {"db"}, f"a data disk must tell its group: {disks}"
        target.destroy_each([DestroyRequest(ids[0], cluster, "db")])
        assert _go(target, ids[0]), "the destroyed machine never goes"
        assert _disks(target, cluster) == disks, "destroy must not delete data disks"
        target.boot(target.named_request(cluster, "db-1", incarnation=1))
        assert _disks(target, cluster) == disks, "the next machine of that key must find its predecessor's disk"

    def test_a_data_disk_in_use_is_not_swept(self, target: ConformanceTarget) -> None:
        cluster, other = target.new_cluster(), target.new_cluster()
        (id_,) = target.boot(target.named_request(cluster, "db-1"))
        (disk,) = _disks(target, cluster)
        assert not _disks(target, other), "a disk of another cluster is no leftover of this one"
        for asked in (cluster, other):
            (outcome,) = target.provider.sweep(asked, [disk])
            assert outcome.error, f"sweep({asked}) must refuse to delete a data disk that a machine uses"
        assert _disks(target, cluster) == [disk], "a data disk that a machine uses was deleted"
        target.destroy_each([DestroyRequest(id_, cluster, "db")])
        assert _go(target, id_), "the destroyed machine never goes"
        for _ in range(2):
            (outcome,) = target.provider.sweep(cluster, [disk])
            assert outcome.error is None, f"sweep must be idempotent: {outcome.error!r}"
        assert not _disks(target, cluster), "sweep did not delete the data disk"

    def test_an_image_in_use_is_not_swept(self, target: ConformanceTarget) -> None:
        image, cluster, other = _new_image(target), target.new_cluster(), target.new_cluster()
        before = target.provider.leftovers(cluster)
        target.provider.publish(image, unobserved)
        unused = [leftover for leftover in target.provider.leftovers(cluster) if leftover not in before]
        (id_,) = target.boot(replace(target.request(other), image=image))
        used = [leftover for leftover in target.provider.leftovers(cluster) if leftover in unused]
        assert not used, f"an image that another cluster uses is no leftover of this one: {used}"
        for outcome in target.provider.sweep(cluster, unused):
            assert outcome.error, "sweep must refuse to delete an image that a machine uses"
        assert target.provider.published([image]), "an image that a machine uses was deleted"
        target.destroy_each([DestroyRequest(id_, other, "web")])
        assert _go(target, id_), "the destroyed machine never goes"
        for outcome in target.provider.sweep(cluster, unused * 2):
            assert outcome.error is None, f"sweep must be idempotent: {outcome.error!r}"
        assert not (unused and target.provider.published([image])), "sweep did not delete the image"

    def test_a_publication_is_listed_as_long_as_it_is_there(self, target: ConformanceTarget) -> None:
        image = _new_image(target)
        assert not _publications(target, image), "an image that is not published yet is listed"
        target.provider.publish(image, unobserved)
        (found,) = _publications(target, image)
        assert found.complete and not found.in_use, f"published, and nobody's yet: {found}"
        for outcome in target.provider.unpublish([found, found]):
            assert outcome.error is None, f"unpublish must be idempotent: {outcome.error!r}"
        assert not _publications(target, image), "unpublish did not delete the image"
        assert not target.provider.published([image]), "published tells of an image that was deleted"
        target.provider.publish(image, unobserved)
        assert target.provider.published([image]), "an image that was deleted cannot be published again"

    def test_a_publication_in_use_is_not_deleted(self, target: ConformanceTarget) -> None:
        image, cluster = _new_image(target), target.new_cluster()
        target.provider.publish(image, unobserved)
        (id_,) = target.boot(replace(target.request(cluster), image=image))
        (found,) = _publications(target, image)
        assert found.in_use, f"a machine was made from it: {found}"
        (outcome,) = target.provider.unpublish([replace(found, in_use=False)])
        assert outcome.error, "unpublish must refuse to delete an image that a machine was made from"
        assert target.provider.published([image]), "an image that a machine was made from was deleted"
        target.destroy_each([DestroyRequest(id_, cluster, "web")])
        assert _go(target, id_), "the destroyed machine never goes"
        target.eventually(lambda: not any(one.in_use for one in _publications(target, image)))
        (outcome,) = target.provider.unpublish(_publications(target, image))
        assert outcome.error is None, f"nobody uses it any more: {outcome.error!r}"
        assert list(target.provider.unpublish([])) == [], "a batch of none must have no outcomes"

    def test_sweep_of_nothing_does_nothing(self, target: ConformanceTarget) -> None:
        assert list(target.provider.sweep(target.new_cluster(), [])) == [], "a batch of none must have no outcomes"


def _publications(target: ConformanceTarget, image: Image) -> list[Publication]:
    """Return what is there of an image. A provider may remember but the beginning of its identity."""
    found = target.provider.publications()
    return [one for one in found if len(one.identity) >= IDENTITY_DIGITS and image.identity.startswith(one.identity)]


def _new_image(target: ConformanceTarget) -> Image:
    return target.needs(target.new_image, "only knows images that are there")()


def _go(target: ConformanceTarget, *ids: InstanceId) -> bool:
    return target.eventually(lambda: all(target.instance(id_) is None for id_ in ids))


def _lives(target: ConformanceTarget, instance_id: InstanceId) -> bool:
    found = target.instance(instance_id)
    return found is not None and found.state is not InstanceState.LEAVING


def _disks(target: ConformanceTarget, cluster: str) -> list[Leftover]:
    found = [leftover for leftover in target.provider.leftovers(cluster) if leftover.holds_data]
    return sorted(found, key=lambda disk: disk.id)
