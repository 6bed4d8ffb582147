"""When another controller has certainly stopped is known from when its signs were first seen."""

from dataclasses import dataclass

from infrakit_py.stores.etcd_sightings import LastOwner, Sightings
from infrakit_py.stores.etcd_wire import Found

OWNER = LastOwner("one", 7, 10)


@dataclass
class Watch:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def sign(modified: int, lease: int = 7) -> Found:
    return Found("/infrakit/signs/one", str(lease).encode(), 1, modified, 0)


def test_the_time_counts_from_when_the_last_sign_was_first_seen() -> None:
    watch = Watch()
    sightings = Sightings(watch)
    sightings.see([sign(1)])
    watch.now = 104.0
    sightings.see([sign(1)])
    assert sightings.left_seconds(OWNER, [sign(1)]) == 6.0
    watch.now = 110.0
    assert sightings.left_seconds(OWNER, [sign(1)]) <= 0


def test_a_sign_that_was_not_seen_before_begins_it_anew() -> None:
    watch = Watch()
    sightings = Sightings(watch)
    sightings.see([sign(1)])
    watch.now = 109.0
    assert sightings.left_seconds(OWNER, [sign(2)]) == 10.0
    watch.now = 118.0
    assert sightings.left_seconds(OWNER, [sign(2)]) == 1.0


def test_of_whom_nothing_was_ever_heard_it_counts_from_now_on() -> None:
    watch = Watch()
    sightings = Sightings(watch)
    assert sightings.left_seconds(OWNER, []) == 10.0
    watch.now = 110.0
    assert sightings.left_seconds(OWNER, []) <= 0


def test_another_one_of_its_name_does_not_keep_it_alive() -> None:
    watch = Watch()
    sightings = Sightings(watch)
    assert sightings.left_seconds(OWNER, [sign(5, lease=8)]) == 10.0
    watch.now = 109.0
    sightings.see([sign(6, lease=8)])
    assert sightings.left_seconds(OWNER, [sign(7, lease=8)]) == 1.0


def test_what_is_remembered_is_bounded() -> None:
    watch = Watch()
    sightings = Sightings(watch)
    for lease in range(5000):
        sightings.see([sign(1, lease)])
    assert len(sightings._seen) == 1000
