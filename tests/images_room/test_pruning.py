"""What of the cache may go."""

import os
from pathlib import Path

import pytest

from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.images.pruning import prunable, prune
from infrakit_py.spi.images import DiskFormat
from tests.images_room.test_builds import YAML, Bench

NOW = 1_800_000_000.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.disks
def test_all_that_belongs_to_no_wanted_image_goes_and_the_rest_stays(bench: Bench) -> None:
    cache = Cache(bench.directory / "cache")
    old = bench.build()
    bench.write(YAML.replace("1.27", "1.28"))
    new = bench.build()
    for image in (old, new):
        DiskMaker(cache).disk(image, DiskFormat.RAW)
    found = prunable(cache, bench.builds(), {new.identity}, NOW)
    assert sorted(kept.kind for kept in found) == ["disk", "disk", "image", "log", "record"]
    assert {kept.identity for kept in found if kept.identity} == {old.identity}
    assert all(kept.size > 0 for kept in found)
    for kept in found:
        prune(kept)
        prune(kept)  # gone already
    assert bench.builds().found(bench.image()) == new
    assert [path.name.split("-")[0] for path in (bench.directory / "cache/disks").iterdir()] == [new.identity] * 2
    assert prunable(cache, bench.builds(), {new.identity}, NOW) == []
    assert [build.identity for build in bench.builds().all()] == [new.identity]


def test_scratch_goes_only_when_nobody_can_be_working_in_it(bench: Bench) -> None:
    cache = Cache(bench.directory / "cache")
    for name, age in ((".scratch-old", 90_000.0), (".scratch-new", 60.0)):
        (cache.directory / name).mkdir(parents=True)
        os.utime(cache.directory / name, (NOW - age, NOW - age))
    assert [kept.path.name for kept in prunable(cache, bench.builds(), (), NOW)] == [".scratch-old"]


def test_of_no_cache_nothing_may_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert prunable(Cache(tmp_path / "none"), bench.builds(), (), NOW) == []
