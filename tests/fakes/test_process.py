"""The fake as a process: started by hand, looked at and interfered with over HTTP, ended by a signal."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.fakes.account import client
from tests.fakes.ec2.settings import LINUX, SUBNETS

_ARGUMENTS = ("--boot-time", "0s", "--capacity", "a=2,b/m5.large=1", "--deregistration-time", "0s")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.fakes.ec2", *_ARGUMENTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def _state(url: str) -> Any:
    with urlopen(f"{url}/_fake/state", timeout=5) as answer:
        return json.load(answer)


def _act(url: str, name: str, **arguments: object) -> Any:
    with urlopen(f"{url}/_fake/{name}", json.dumps(arguments).encode(), timeout=5) as answer:
        return json.load(answer)["result"]


def test_a_process_can_be_talked_to_looked_at_and_interfered_with(url: str) -> None:
    ec2 = client("ec2", url)
    wanted: Any = {"ImageId": LINUX, "InstanceType": "m5.large", "SubnetId": SUBNETS["a"], "MinCount": 1}
    made = ec2.run_instances(**wanted, MaxCount=5)["Instances"]
    assert len(made) == 2
    id_ = made[0]["InstanceId"]
    _act(url, "kill", instance_id=id_)
    assert _act(url, "schedule_event", instance_id=id_).startswith("instance-event-")
    state = _state(url)
    assert state["instances"] == {"stopped": 1, "running": 1}
    assert (state["calls"], state["mistakes"]) == ({"RunInstances": 1}, [])


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [("explode", {}, 404), ("kill", {"instance_id": "i-0"}, 400), ("kill", {"id": "i-0"}, 400)],
    ids=["act", "instance", "argument"],
)
def test_an_act_that_cannot_be_is_refused(url: str, name: str, arguments: dict[str, str], status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        _act(url, name, **arguments)
    caught.value.close()
    assert caught.value.code == status
