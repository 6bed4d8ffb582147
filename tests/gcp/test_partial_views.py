"""A zone that does not answer is unknown, not empty: nothing is taken for gone, and nothing is made in its place."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Provider
from tests.driving.inline import engine_of
from tests.driving.regions import Region
from tests.fakes.gce import FakeGCE
from tests.gcp.driving import GCP, db, web
from tests.gcp.test_removing import boot, destroy

Loses = Callable[[FakeGCE, bool], None]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.mark.parametrize("unasked", [False, True], ids=["an error", "an answer without it"])
def test_a_zone_that_does_not_answer_is_an_error(provider: Provider, fake: FakeGCE, unasked: bool) -> None:
    boot(provider, 3)
    fake.lose_zone("b", unasked=unasked)
    for look in (lambda: provider.describe("shop"), lambda: provider.leftovers("shop")):
        with pytest.raises(Transient) as caught:
            look()
        assert "europe-west1-b" in str(caught.value)


@pytest.mark.parametrize("unasked", [False, True], ids=["an error", "an answer without it"])
def test_machines_of_a_zone_that_does_not_answer_are_not_gone(
    provider: Provider, fake: FakeGCE, unasked: bool
) -> None:
    ids = boot(provider, 12)
    fake.lose_zone("b", unasked=unasked)
    with pytest.raises(ProviderError):
        provider.lookup(ids)
    with pytest.raises(ProviderError):
        destroy(provider, ids)
    fake.lose_zone("b", lost=False)
    assert all(provider.lookup(ids).values())


@pytest.mark.parametrize("unasked", [False, True], ids=["an error", "an answer without it"])
@pytest.mark.parametrize("group", [web(6), db("a", "b", "c")], ids=["interchangeable", "named"])
def test_a_controller_that_cannot_see_a_zone_waits_until_it_can(
    fake: FakeGCE, clock: VirtualClock, tmp_path: Path, group: dict[str, Any], unasked: bool
) -> None:
    region = Region(GCP, fake, clock, tmp_path, {})
    region.converge(web=group)
    before = sorted(fake.ids())
    with engine_of(region.app, region.write(web=group), region.store, endless=True) as engine:
        region.keep(engine, 60)
        fake.lose_zone("b", unasked=unasked)
        region.keep(engine, 300)
        assert "europe-west1-b" in engine.statuses()["web"].reason
        assert sorted(fake.ids()) == before
        fake.lose_zone("b", lost=False)
        region.keep(engine, 300)
        assert engine.statuses()["web"].reason == ""
    assert sorted(fake.ids()) == before


def test_a_listing_that_fails_once_is_asked_for_again(provider: Provider, fake: FakeGCE) -> None:
    ids = boot(provider, 3)
    fake.fail("instances.aggregatedList", "transient", 2)
    assert {one.id for one in provider.describe("shop")} == set(ids)
