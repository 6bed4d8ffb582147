"""Costs: sums of what providers were told, over the machines that are there and those that are wanted."""

from collections.abc import Mapping

import pytest

from infrakit_py.engine.unreachable import Unreachable
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState, Member
from infrakit_py.model.spec import GroupSpec, Json
from infrakit_py.render.costs import cost_lines, costs, costs_json


class Untold(Unreachable):
    """Knows no prices. Neither this one nor the next may be called for costs."""

    def __init__(self) -> None:
        super().__init__(ProviderError("it was called"))


class Told(Untold):
    """Satisfies Priced."""

    def __init__(self, prices: Mapping[str, float], currency: str = "USD", source: str = "prices.yml") -> None:
        super().__init__()
        self.currency = currency
        self.source = source
        self._prices = prices

    def price_of_machines(self, machine: Mapping[str, Json], count: int) -> float | None:
        price = self._prices.get(str(machine["type"]))
        return None if price is None else price * count

    def price_of(self, instance: Instance) -> float | None:
        return self._prices.get(instance.facts.get("type", ""))


def member(type_: str = "m", state: InstanceState = InstanceState.RUNNING, provider: str = "one") -> Member:
    facts = {"type": type_} if type_ else {}
    return Member(Instance(InstanceId("i"), {tags.GROUP: "web"}, state, 0.0, facts=facts), provider)


def group(type_: str = "m", size: int = 1, provider: str = "one") -> GroupSpec:
    return GroupSpec("web", provider, "linux", size=size, machine={"type": type_})


ONE = {"one": Told({"m": 0.1, "l": 2.5})}


def test_all_that_exist_and_are_not_gone_are_added_up() -> None:
    there = [member(state=state) for state in InstanceState]
    assert cost_lines(costs(ONE, there)) == ["Cost: 0.50 USD/h (prices.yml)"]


def test_what_is_wanted_is_the_price_of_each_machine_by_their_number() -> None:
    found = costs(ONE, [], [group("m", 3), group("l", 2)])
    assert cost_lines(found) == ["Cost: 0.00 → 5.30 USD/h (prices.yml)"]


def test_a_sum_that_stays_is_written_once() -> None:
    assert cost_lines(costs(ONE, [member()] * 3, [group("m", 3)])) == ["Cost: 0.30 USD/h (prices.yml)"]


@pytest.mark.parametrize(
    ("price", "written"),
    [(0.0, "0.00"), (0.0042, "0.0042"), (0.115, "0.115"), (0.5, "0.50"), (1.239, "1.24"), (1234.5, "1234.50")],
)
def test_small_amounts_have_more_digits(price: float, written: str) -> None:
    assert cost_lines(costs({"one": Told({"m": price})}, [member()])) == [f"Cost: {written} USD/h (prices.yml)"]


def test_machines_of_unknown_price_are_counted_beside_the_known_ones() -> None:
    there = [member(), member("x"), member("x"), member("")]
    (line,) = cost_lines(costs(ONE, there))
    assert line == "Cost: 0.10 USD/h (prices.yml); 3 machines of unknown price (x, group web)"
    (document,) = costs_json(costs(ONE, there))
    assert document == {
        "now": 0.1,
        "currency": "USD",
        "source": "prices.yml",
        "unknown": [
            {"when": "now", "machines": 2, "group": "web", "type": "x"},
            {"when": "now", "machines": 1, "group": "web", "type": None},
        ],
    }


def test_without_any_known_price_there_is_no_amount() -> None:
    found = costs(ONE, [member("x")], [group("m", 1), group("m", 0)])
    assert cost_lines(found) == ["Cost: ? → 0.10 USD/h (prices.yml); 1 machine of unknown price now (x)"]


def test_providers_of_one_currency_are_added_up_and_others_are_listed_apart() -> None:
    providers = {**ONE, "two": Told({"m": 1.0}, source="more.yml"), "three": Told({"m": 1.0}, "EUR")}
    there = [member(), member(provider="two"), member(provider="three"), member(provider="three")]
    assert cost_lines(costs(providers, there)) == [
        "Cost: 1.10 USD/h (prices.yml, more.yml)",
        "Cost: 2.00 EUR/h (prices.yml)",
    ]


def test_a_provider_that_was_told_nothing_is_left_out() -> None:
    providers = {"one": Told({"m": 1.0}, source=""), "two": Untold()}
    assert costs(providers, [member(), member(provider="two")], [group(), group(provider="two")]) == ()


def test_machines_that_cannot_be_seen_are_no_sum() -> None:
    found = costs(ONE, [member()], [group()], unseen=["one"])
    assert cost_lines(found) == ["Cost: ? → 0.10 USD/h (prices.yml); the machines that are there cannot all be seen"]
    assert costs_json(found)[0] == {
        "now": None,
        "then": 0.1,
        "currency": "USD",
        "source": "prices.yml",
        "unknown": [],
    }
