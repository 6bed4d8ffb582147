"""The Compute Engine stand-in as a process: started by hand, interfered with over HTTP, ended by a signal."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from google.cloud import compute_v1
from google.oauth2.service_account import Credentials

from tests.fakes.gce.auth import UNIVERSE
from tests.fakes.gce.project import B, instance
from tests.fakes.gce.settings import PROJECT

_ARGUMENTS = ("--boot-time", "0s", "--capacity", "b=1,c/n2-standard-2=3", "--quota", "CPUS=24", "--limits", "gce")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    asked = tmp_path_factory.mktemp("fake") / "key.json"
    command = [sys.executable, "-m", "tests.fakes.gce", *_ARGUMENTS, "--credentials-file", str(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            yield running.stdout.readline().strip(), Path(running.stdout.readline().strip())
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
        finally:
            running.kill()


def _act(url: str, act: str, **arguments: object) -> Any:
    with urlopen(f"{url}/_fake/{act}", json.dumps(arguments).encode(), timeout=5) as answer:
        return json.load(answer)["result"]


def _instances(url: str, key: Path) -> Any:
    credentials = Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
        str(key), scopes=["https://www.googleapis.com/auth/compute"]
    )
    options = {"api_endpoint": url, "universe_domain": UNIVERSE}
    return compute_v1.InstancesClient(credentials=credentials, client_options=options)


def test_a_process_can_be_talked_to_looked_at_and_interfered_with(process: tuple[str, Path]) -> None:
    url, key = process
    instances = _instances(url, key)
    made = compute_v1.Instance.from_json(json.dumps(instance("web-1")))
    instances.insert_unary(project=PROJECT, zone=B, instance_resource=made)
    assert instances.get(project=PROJECT, zone=B, instance="web-1").status == "RUNNING"
    _act(url, "kill", name="web-1")
    assert _act(url, "make_foreign", name="other", zone="d") == "other"
    _act(url, "set_capacity", zone="b", room=5)
    with urlopen(f"{url}/_fake/state", timeout=5) as answer:
        state = json.load(answer)
    assert state["instances"] == {"TERMINATED": 1, "RUNNING": 1}
    assert (state["calls"], state["mistakes"]) == ({"instances.insert": 1, "instances.get": 1}, [])


@pytest.mark.parametrize(
    ("act", "arguments", "status"),
    [
        ("explode", {}, 404),
        ("kill", {"name": "none"}, 400),
        ("kill", {"id": "1"}, 400),
        ("preempt", {"name": "x"}, 400),
    ],
    ids=["act", "instance", "argument", "no-such-spot"],
)
def test_an_act_that_cannot_be_is_refused(
    process: tuple[str, Path], act: str, arguments: dict[str, str], status: int
) -> None:
    with pytest.raises(HTTPError) as caught:
        _act(process[0], act, **arguments)
    caught.value.close()
    assert caught.value.code == status
