"""What a plan costs, by what its providers were told; and what references to images stand for."""

from typing import Any

import pytest

from tests.cli.shell import Shell, cluster, web

PRICES = {"plugin": "vendor", "source": "prices.yml", "prices": {"small": 1.2, "large": 4.8}}


def shop(*, type: str = "small", size: int = 2, **vendor: Any) -> dict[str, Any]:
    return cluster(web=web(size, machine={"type": type}), provider={**PRICES, **vendor})


@pytest.fixture
def running(customer: Shell) -> Shell:
    """A terminal in whose directory two small machines run."""
    customer.write(shop())
    result = customer.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert "\nCost: 0.00 → 2.40 USD/h (prices.yml)\nPlan: +2 create\n" in result.out
    return customer


def test_a_plan_says_what_machines_cost_now_and_then(running: Shell) -> None:
    running.write(shop(type="large", size=3))
    assert "\nCost: 2.40 → 14.40 USD/h (prices.yml)\nPlan: " in running.infra("plan").out
    (planned,) = running.infra("plan", "--json").json["clusters"]
    assert planned["cost"] == [
        {"now": 2.4, "then": 14.4, "currency": "USD", "source": "prices.yml", "unknown": []},
    ]


def test_the_status_says_what_machines_cost_now(running: Shell) -> None:
    assert running.infra("status").out.startswith("Cluster shop (cluster.yml)\nCost: 2.40 USD/h (prices.yml)\n")
    (seen,) = running.infra("status", "--json").json["clusters"]
    assert seen["cost"] == [{"now": 2.4, "currency": "USD", "source": "prices.yml", "unknown": []}]


def test_an_unknown_price_is_said_and_never_guessed(running: Shell) -> None:
    running.write(shop(type="huge", prices={}))
    out = running.infra("plan").out
    assert "Cost: ? → ? USD/h (prices.yml); 2 machines of unknown price now (small), 2 then (group web)\n" in out
    assert "Cost: ? USD/h (prices.yml); 2 machines of unknown price (small)\n" in running.infra("status").out
    (planned,) = running.infra("plan", "--json").json["clusters"]
    assert planned["cost"] == [
        {
            "now": None,
            "then": None,
            "currency": "USD",
            "source": "prices.yml",
            "unknown": [
                {"when": "now", "machines": 2, "group": "web", "type": "small"},
                {"when": "then", "machines": 2, "group": "web", "type": None},
            ],
        }
    ]


def test_machines_that_cannot_be_seen_cost_nobody_knows_what(running: Shell) -> None:
    both = shop()
    both["providers"]["far"] = {"plugin": "vendor", "broken": "open", "source": "far.yml"}
    both["groups"]["far"] = {**web(1), "provider": "far"}
    running.write(both)
    result = running.infra("plan")
    assert result.code == 1
    assert "Cost: 2.40 USD/h (prices.yml)\n" in result.out
    running.write(shop(broken="describe"))
    assert "Cost: ? → 2.40 USD/h (prices.yml); the machines that are there cannot all be seen\n" in (
        running.infra("plan").out
    )
    assert "Cost: ? USD/h (prices.yml); the machines that are there cannot all be seen\n" in (
        running.infra("status").out
    )


def test_currencies_are_not_added_up(customer: Shell) -> None:
    two = shop()
    two["providers"]["eu"] = {**PRICES, "currency": "EUR", "source": "preise.yml"}
    two["groups"]["eu"] = {**web(1), "provider": "eu"}
    customer.write(two)
    out = customer.infra("plan").out
    assert "Cost: 0.00 → 2.40 USD/h (prices.yml)\nCost: 0.00 → 1.20 EUR/h (preise.yml)\n" in out


def test_where_nobody_was_told_a_price_nothing_is_said_of_it(customer: Shell) -> None:
    customer.write(shop(source=""))
    assert "Cost" not in customer.infra("plan").out
    assert customer.infra("plan", "--json").json["clusters"][0]["cost"] == []
    customer.write(cluster(web=web()))
    assert "Cost" not in customer.infra("plan").out
    assert "Cost" not in customer.infra("status").out


def pointing(target: str | None) -> dict[str, Any]:
    spec = shop(pointers={"pointer:web": target} if target else {})
    spec["images"] = {"web": {"reference": "pointer:web"}}
    spec["groups"]["web"]["image"] = "web"
    return spec


def test_a_plan_says_what_references_stand_for_and_when_they_come_to_stand_for_another(customer: Shell) -> None:
    customer.write(pointing("a1"))
    first = customer.infra("apply", "--auto-approve")
    assert first.code == 0, first
    assert first.out.startswith("Cluster shop (cluster.yml)\n  image web: a1 (pointer:web)\n")
    assert customer.infra("plan").out.endswith("Plan: no changes\n")
    customer.write(pointing("a2"))
    out = customer.infra("plan").out
    assert "  image web: a2 (pointer:web)\n" in out
    assert "to replace web-0 (image a1 → a2)" in out
    (planned,) = customer.infra("plan", "--json").json["clusters"]
    (image,) = planned["images"]
    assert {**image, "identity": ""} == {
        "image": "web",
        "provider": "sim",
        "reference": "a2",
        "written": "pointer:web",
        "identity": "",
    }
    assert f"2 × web ({image['identity'][:12]})" in out


def test_an_image_of_one_meaning_is_called_by_its_name(customer: Shell) -> None:
    customer.write(pointing("a1"))
    assert customer.infra("apply", "--auto-approve").code == 0
    (seen,) = customer.infra("status", "--json").json["clusters"]
    assert {machine["image"] for machine in seen["groups"][0]["machines"]} == {"web"}


def test_two_providers_may_take_one_reference_for_different_images(customer: Shell) -> None:
    two = pointing("a1")
    two["providers"]["eu"] = {"plugin": "vendor", "pointers": {"pointer:web": "a2"}}
    two["groups"]["eu"] = {**two["groups"]["web"], "provider": "eu"}
    customer.write(two)
    out = customer.infra("plan").out
    assert "  image web on sim: a1 (pointer:web)\n  image web on eu: a2 (pointer:web)\n" in out
    assert "image web: a1 (pointer:web)\n" in customer.infra("plan", "-g", "web").out


def test_of_a_reference_that_nobody_could_resolve_only_that_is_said(customer: Shell) -> None:
    customer.write(pointing(None))
    result = customer.infra("plan")
    assert result.code == 1
    assert "  image web:" not in result.out
    assert "image web (pointer:web): nothing is at pointer:web" in result.out


def test_a_rehearsal_of_what_is_there_begins_with_the_image_that_is_pointed_to(customer: Shell) -> None:
    customer.write(pointing("a1"))
    assert customer.infra("apply", "--auto-approve").code == 0
    rehearsed = customer.infra("simulate", "--from", "observed", "--json")
    assert rehearsed.code == 0, rehearsed
    assert "outdated" not in rehearsed.out
    assert "creating" not in rehearsed.out


def test_a_cluster_goes_though_its_reference_points_nowhere_any_more(customer: Shell) -> None:
    customer.write(pointing("a1"))
    assert customer.infra("apply", "--auto-approve").code == 0
    customer.write(pointing(None))
    gone = customer.infra("destroy", "--auto-approve")
    assert gone.code == 0, gone
    assert gone.out.endswith("shop: destroyed\n")
