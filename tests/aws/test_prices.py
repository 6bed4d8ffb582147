"""What machines cost, by a file, and what is said of mistakes in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_providers.aws import plugin
from infrakit_providers.aws.priced import PRICES
from infrakit_providers.cloud.prices import Prices
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Priced, Provider, ProviderContext

WHOLE = """\
currency: EUR
per_hour:
  m5.large: 0.115
  m5.metal-24xl: 5
spot_per_hour: {m5.large: 0.041}
"""


def read(directory: Path, text: str) -> Prices:
    path = directory / "prices.yml"
    path.write_text(text)
    return PRICES.read(path)


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(ProviderError) as caught:
        read(directory, text)
    return str(caught.value).replace(f"{directory}/", "")


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    prices = read(tmp_path, WHOLE)
    assert prices.currency == "EUR"
    assert prices.per_hour == {"m5.large": 0.115, "m5.metal-24xl": 5}


@pytest.mark.parametrize(
    ("instance_type", "spot", "price"),
    [
        ("m5.large", False, 0.115),
        ("m5.large", True, 0.041),
        ("m5.metal-24xl", True, None),
        ("c5.large", False, None),
    ],
    ids=["on demand", "spot", "never the other price", "not in the file"],
)
def test_a_price_is_the_file_s_or_none(tmp_path: Path, instance_type: str, spot: bool, price: float | None) -> None:
    assert read(tmp_path, WHOLE).of_type(instance_type, spot) == price


def test_prices_are_in_dollars_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert read(tmp_path, "per_hour: {m5.large: 1}").currency == "USD"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prices.yml: the price file is empty"),
        ("[m5.large]", "prices.yml:1:1: must be a mapping"),
        ("currency: USD\n", "prices.yml:1:1: per_hour: missing"),
        ("per_hour: {}\nperhour: {}\n", "prices.yml:2:1: perhour: unknown key"),
        ("per_hour:\n  m5.large: cheap\n", "prices.yml:2:3: per_hour.m5.large: must be a number"),
        ("per_hour: {m5.large: -1}\n", "prices.yml:1:12: per_hour.m5.large: must be greater than or equal to 0"),
        ("per_hour: {m5.large: .nan}\n", "prices.yml:1:12: per_hour.m5.large: must be a finite number"),
        ("per_hour: {m5.large: true}\n", "prices.yml:1:12: per_hour.m5.large: must be a number"),
        ("per_hour: {m5: 1}\n", "prices.yml:1:12: per_hour.m5: must look like m5.large"),
        ("per_hour: {5: 1}\n", "prices.yml:1:12: per_hour.5: must be text"),
        ("per_hour: {}\ncurrency: dollar\n", "prices.yml:2:1: currency: must match pattern"),
        ("per_hour:\n  m5.large: 1\n  m5.large: 2\n", "prices.yml:3:3: m5.large is there twice"),
        ("per_hour: {}\nper_hour: {}\n", "prices.yml:2:1: per_hour is there twice"),
        ("per_hour: [\n", "prices.yml:2:1: expected the node content"),
        ("per_hour: {? [a] : 1}\n", "prices.yml:1:14: found unhashable key"),
        ("per_hour: !!python/name:os.system ''\n", "prices.yml:1:11: could not determine a constructor"),
        ("per_hour: 2020-13-45\n", "prices.yml: not YAML: month must be in 1..12"),
        ("\x00", "prices.yml: not YAML: unacceptable character"),
        ("[" * 500, "prices.yml: not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"cannot read the price file .*none\.yml: No such file or directory"):
        PRICES.read(tmp_path / "none.yml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProviderError, match=r"prices\.yml: not UTF-8 text"):
        PRICES.read(tmp_path / "prices.yml")


def opened(directory: Path, text: str) -> Provider:
    (directory / "prices.yml").write_text(text)
    settings: dict[str, Json] = {"region": "eu-central-1", "prices": "prices.yml"}
    return plugin.open(settings, ProviderContext(VirtualClock(), directory))


@pytest.fixture(name="shop")
def _shop(tmp_path: Path) -> Iterator[Provider]:
    provider = opened(tmp_path, WHOLE)
    yield provider
    provider.close()


def of_machines(provider: Provider, **machine: Json) -> float | None:
    assert isinstance(provider, Priced)
    return provider.price_of_machines({"instance_types": ["m5.large", "c5.large"], **machine}, 4)


def test_a_provider_with_a_price_file_says_whose_prices_it_has(shop: Provider) -> None:
    assert isinstance(shop, Priced)
    assert (shop.currency, shop.source) == ("EUR", "prices.yml")


def test_a_provider_without_a_price_file_has_no_prices() -> None:
    provider = plugin.open({"region": "eu-central-1"}, ProviderContext(VirtualClock(), Path()))
    assert not isinstance(provider, Priced)
    provider.close()


def test_a_wrong_price_file_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"prices\.yml:1:12: per_hour\.m5: must look like m5\.large"):
        opened(tmp_path, "per_hour: {m5: 1}\n")


@pytest.mark.parametrize(
    ("machine", "price"),
    [
        ({}, 4 * 0.115),
        ({"capacity": {"spot_percent": 100}}, 4 * 0.041),
        ({"capacity": {"spot_percent": 25}}, 3 * 0.115 + 0.041),
        ({"capacity": {"on_demand_base": 2, "spot_percent": 100}}, 2 * 0.115 + 2 * 0.041),
        ({"capacity": {"on_demand_base": 9, "spot_percent": 100}}, 4 * 0.115),
        ({"instance_types": ["c5.large", "m5.large"]}, None),
        ({"instance_types": "m5.metal-24xl", "capacity": {"spot_percent": 25}}, None),
    ],
    ids=[
        "on demand",
        "spot",
        "both",
        "a base and spot",
        "a base of more",
        "the preferred type has none",
        "one has none",
    ],
)
def test_machines_cost_what_their_preferred_type_does_on_their_markets(
    shop: Provider, machine: dict[str, Json], price: float | None
) -> None:
    assert of_machines(shop, **machine) == (price if price is None else pytest.approx(price))


def test_a_market_that_is_not_used_needs_no_price(tmp_path: Path) -> None:
    provider = opened(tmp_path, "per_hour: {}\nspot_per_hour: {m5.large: 0.5}\n")
    assert of_machines(provider, capacity={"spot_percent": 100}) == 2.0
    provider.close()


@pytest.mark.parametrize(
    ("facts", "price"),
    [
        ({"type": "m5.large"}, 0.115),
        ({"type": "m5.large", "lifecycle": "spot"}, 0.041),
        ({"type": "m5.metal-24xl", "lifecycle": "spot"}, None),
        ({"type": "m5.large", "lifecycle": "capacity-block"}, None),
        ({}, None),
    ],
    ids=["on demand", "spot", "no spot price", "another market", "nothing known"],
)
def test_an_instance_costs_what_its_type_does_on_its_market(
    shop: Provider, facts: dict[str, str], price: float | None
) -> None:
    assert isinstance(shop, Priced)
    one = Instance(InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0, facts=facts)
    assert shop.price_of(one) == price
