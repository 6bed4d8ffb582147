"""What machines cost, by a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_providers.gcp import plugin
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Priced, Provider, ProviderContext
from tests.gcp.material import PLAIN_SETTINGS

WHOLE = """\
currency: EUR
per_hour:
  e2-standard-2: 0.067
  n2-custom-4-8192: 0.2
spot_per_hour: {e2-standard-2: 0.02}
"""


def opened(directory: Path, text: str) -> Provider:
    (directory / "prices.yml").write_text(text)
    return plugin.open({**PLAIN_SETTINGS, "prices": "prices.yml"}, ProviderContext(VirtualClock(), directory))


@pytest.fixture(name="shop")
def _shop(tmp_path: Path) -> Iterator[Provider]:
    provider = opened(tmp_path, WHOLE)
    yield provider
    provider.close()


def test_a_provider_with_a_price_file_says_whose_prices_it_has(shop: Provider) -> None:
    assert isinstance(shop, Priced)
    assert (shop.currency, shop.source) == ("EUR", "prices.yml")


def test_a_provider_without_a_price_file_has_no_prices() -> None:
    provider = plugin.open(PLAIN_SETTINGS, ProviderContext(VirtualClock(), Path()))
    assert not isinstance(provider, Priced)
    provider.close()


def test_a_wrong_price_file_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"prices\.yml:1:12: per_hour\.e2: must look like e2-standard-2"):
        opened(tmp_path, "per_hour: {e2: 1}\n")


@pytest.mark.parametrize(
    ("machine", "price"),
    [
        ({}, 4 * 0.067),
        ({"provisioning": "spot"}, 4 * 0.02),
        ({"machine_types": "n2-custom-4-8192", "provisioning": "spot"}, None),
        ({"machine_types": ["c3-standard-4", "e2-standard-2"]}, None),
    ],
    ids=["standard", "spot", "never the other price", "the preferred type has none"],
)
def test_machines_cost_what_their_preferred_type_does_on_their_market(
    shop: Provider, machine: dict[str, Json], price: float | None
) -> None:
    assert isinstance(shop, Priced)
    written: dict[str, Json] = {"machine_types": ["e2-standard-2", "c3-standard-4"], **machine}
    assert shop.price_of_machines(written, 4) == (price if price is None else pytest.approx(price))


@pytest.mark.parametrize(
    ("facts", "price"),
    [
        ({"type": "e2-standard-2"}, 0.067),
        ({"type": "e2-standard-2", "provisioning": "standard"}, 0.067),
        ({"type": "e2-standard-2", "provisioning": "spot"}, 0.02),
        ({"type": "e2-standard-2", "provisioning": "flex_start"}, None),
        ({"type": "n2-custom-4-8192", "provisioning": "spot"}, None),
        ({}, None),
    ],
    ids=["nothing said", "standard", "spot", "another market", "no spot price", "nothing known"],
)
def test_an_instance_costs_what_its_type_does_on_its_market(
    shop: Provider, facts: dict[str, str], price: float | None
) -> None:
    assert isinstance(shop, Priced)
    one = Instance(InstanceId("europe-west1-b/web-0"), {}, InstanceState.RUNNING, 0.0, facts=facts)
    assert shop.price_of(one) == price
