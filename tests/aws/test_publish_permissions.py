"""The policy of a spec whose images are published allows each call of that, on what is marked alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_providers.aws import plugin
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.marks import KEY
from infrakit_providers.aws.permissions import least_policy
from infrakit_providers.aws.policies import Policy
from infrakit_providers.aws.publish_settings import Publish
from infrakit_py.clock import VirtualClock
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest, Examining, Grade, Wanted
from tests.aws.driving import read_models_once
from tests.aws.material import MULTI_REGION_KEY
from tests.aws.publishing import BUCKET, NEIGHBOUR, kernel_image, publisher, unheard
from tests.aws.test_permissions import MOST_CHARACTERS
from tests.aws.test_publishing import request
from tests.aws.test_whole_life import NEEDS_NO_PERMISSION, actions_of
from tests.fakes.ec2 import FakeEC2

pytestmark = pytest.mark.disks

BLOCKS: Final = {"StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot"}
WAYS: Final[Mapping[str, dict[str, Any]]] = {
    "direct": {},
    "s3": {"upload": "s3", "bucket": BUCKET},
    "handed on": {"copy_to": [NEIGHBOUR], "share_with": ["210987654321"]},
    "encrypted": {"encrypt": True, "kms_key": MULTI_REGION_KEY},
}
_LOAD: Final = read_models_once()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)


def policy(way: dict[str, Any], machine: Mapping[str, Any] | None = None) -> Policy:
    publish = Publish.model_validate(way)
    machines = [(Machine.model_validate({"instance_types": "t3.micro", **(machine or {})}), False, "")]
    return least_policy("shop", machines, "eu-central-1", publish=publish)


def actions(document: Policy) -> set[str]:
    return {action for one in document["Statement"] for action in one["Action"]}


@pytest.mark.parametrize("way", WAYS)
def test_the_policy_allows_each_call_from_the_first_look_to_the_last_sweep(
    account: FakeEC2, clock: VirtualClock, tmp_path: Path, way: str
) -> None:
    image, provider = kernel_image(tmp_path), publisher(clock, tmp_path, WAYS[way])
    wanted = [Wanted("web", {"instance_types": "t3.micro"}, image, 1, False)]
    assert isinstance(provider, Examining)
    assert all(one.grade is not Grade.PROBLEM for one in provider.examine("shop", wanted))
    provider.publish(image, unheard)
    (outcome,) = provider.provision([request(image)])
    assert outcome.instance_id is not None
    clock.sleep(60)
    provider.publications()
    assert all(one.grade is not Grade.PROBLEM for one in provider.examine("shop", wanted))
    provider.destroy([DestroyRequest(outcome.instance_id, "shop", "web")])
    clock.sleep(60)
    assert [one.error for one in provider.sweep("shop", provider.leftovers("shop"))] == [None]
    provider.close()
    calls = {name: number for name, number in account.calls.items() if name not in BLOCKS}
    called = actions_of(calls) | {f"ebs:{name}" for name in account.calls if name in BLOCKS}
    called |= actions_of(account.regions[NEIGHBOUR].calls)
    assert called - actions(policy(WAYS[way])) - NEEDS_NO_PERMISSION == set()


def test_what_a_way_does_not_do_it_is_not_allowed() -> None:
    assert not any(action.startswith(("s3:", "kms:")) for action in actions(policy({})))
    assert "ec2:ImportSnapshot" not in actions(policy({}))
    assert not any(action.startswith("ebs:") for action in actions(policy(WAYS["s3"])))
    assert {"ec2:CopyImage", "ec2:ModifyImageAttribute"} & actions(policy({})) == set()


@pytest.mark.parametrize("way", WAYS)
def test_images_are_made_and_changed_only_with_the_mark(way: str) -> None:
    for one in policy(WAYS[way])["Statement"]:
        if {"ec2:RegisterImage", "ec2:DeleteSnapshot", "ebs:PutSnapshotBlock", "ec2:CopyImage"} & set(one["Action"]):
            (condition,) = one["Condition"].values()
            assert list(condition) in ([f"aws:RequestTag/{KEY}"], [f"aws:ResourceTag/{KEY}"])


def test_objects_are_touched_below_the_folder_of_the_one_bucket() -> None:
    (one,) = [part for part in policy(WAYS["s3"])["Statement"] if "s3:PutObject" in part["Action"]]
    assert one["Resource"] == [f"arn:aws:s3:::{BUCKET}/infrakit/*"]


def test_a_policy_for_every_way_of_publishing_fits_in_one() -> None:
    everything = {**WAYS["s3"], **WAYS["handed on"], **WAYS["encrypted"]}
    machine = {"capacity": {"spot_percent": 50}, "target_groups": ["web"], "security_groups": ["sg-12345678"]}
    written = json.dumps(policy(everything, machine), separators=(",", ":"))
    assert len(written) <= MOST_CHARACTERS


def test_the_command_s_policy_heeds_what_the_file_says_of_publishing(tmp_path: Path) -> None:
    wanted = [Wanted("web", {"instance_types": "t3.micro"}, kernel_image(tmp_path), 1, False)]
    settings: dict[str, Json] = {"region": "eu-central-1", "publish": WAYS["s3"]}
    written: Policy = json.loads(plugin.permissions("shop", settings, wanted))
    assert actions(written) == actions(policy(WAYS["s3"]))
