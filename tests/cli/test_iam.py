"""`infra iam`: the least permissions, as the vendor takes them, and nobody is asked."""

from typing import Any

import pytest

from tests.cli.shell import Shell, cluster, db, web
from tests.cli.test_commands import complete


def allowed(name: str = "shop", **more: Any) -> dict[str, Any]:
    return cluster(name, web=web(2), db=db("db-1"), provider={"plugin": "vendor", "broken": "open", **more})


def test_permissions_are_printed_as_the_plugin_writes_them_and_nothing_is_opened(customer: Shell) -> None:
    spec = allowed(seed=7)
    spec["images"]["a1"] = {"reference": "pointer:web"}
    customer.write(spec)
    before = customer.tree()
    result = customer.infra("iam", "vendor")
    assert result.code == 0, result
    assert result.out.count("\n") == 1
    assert result.json == {
        "cluster": "shop",
        "seed": 7,
        "machines": [["web", "pointer:web", 2, False], ["db", "pointer:web", 1, True]],
    }
    assert customer.tree() == before
    assert not customer.database.exists()


def test_several_providers_have_no_document_together_and_one_is_chosen(customer: Shell) -> None:
    two = allowed("one")
    two["providers"]["other"] = {"plugin": "vendor"}
    two["providers"]["else"] = {"plugin": "simulated"}
    customer.write(two, allowed("two"))
    result = customer.infra("iam", "vendor", "cluster.yml")
    assert result.code == 64
    assert result.out == ""
    assert "3 providers have the plugin, and each needs permissions of its own" in result.err
    assert "choose --cluster one --provider sim or --cluster one --provider other or --cluster two" in result.err
    assert customer.infra("iam", "vendor", "--cluster", "two").json["cluster"] == "two"
    assert customer.infra("iam", "vendor", "--cluster", "one", "--provider", "other").json["machines"] == []
    nowhere = customer.infra("iam", "vendor", "--cluster", "three")
    assert nowhere.code == 64
    assert "no provider of the plugin is called so" in nowhere.err


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("vendr", "no provider plugin 'vendr' is installed; did you mean 'vendor'?"),
        ("simulated", "provider plugin 'simulated' does not say which permissions it needs"),
        ("vendor", "cluster.yml: no provider has the plugin 'vendor'"),
    ],
)
def test_what_has_no_permissions_is_said(plugin: str, message: str, customer: Shell) -> None:
    customer.write(cluster(web=web(1)))
    result = customer.infra("iam", plugin)
    assert result.code == 64
    assert message in result.err


def test_completion_completes_the_plugins_that_are_installed(customer: Shell) -> None:
    assert complete(customer, "infra iam v") == ["vendor"]
    assert {"simulated", "vendor"} <= set(complete(customer, "infra iam "))
