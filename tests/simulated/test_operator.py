"""The operator's hand: what a person at another terminal does to a cloud that something else uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_providers.simulated.__main__ import main
from infrakit_providers.simulated.mishaps import MISHAPS
from infrakit_py.clock import SystemClock
from infrakit_py.errors import Throttled
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import HealthCheck
from tests.simulated.worlds import World, errors, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world({"boot_time": "0s"}, path=tmp_path / "sim.db", clock=SystemClock())
    yield opened
    opened.provider.close()


def operate(tmp_path: Path, *words: str) -> int:
    return main([str(tmp_path / "sim.db"), *words])


def test_list_shows_every_machine(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = world.boot(0, 1)
    assert operate(tmp_path, "list") == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "STATE", "NAME", "ZONE", "TYPE", "ADDRESS", "AGE", "NOTE"]
    assert [line.split()[:6] for line in lines] == [
        [ids[0], "running", "web-0", "a", "small", "10.0.0.1"],
        [ids[1], "running", "web-1", "a", "small", "10.0.0.2"],
    ]


@pytest.mark.parametrize(("word", "detail"), [("kill", "killed (simulated)"), ("stop", "powered off (simulated)")])
def test_a_machine_can_be_stopped(world: World, tmp_path: Path, word: str, detail: str) -> None:
    (id_,) = world.boot(0)
    assert operate(tmp_path, word, id_) == 0
    assert (world.see(id_).state, world.see(id_).detail) == (InstanceState.STOPPED, detail)


def test_a_machine_can_be_made_sick_and_healed(world: World, tmp_path: Path) -> None:
    (id_,) = world.boot(0)
    assert operate(tmp_path, "sicken", id_) == 0
    assert world.provider.probe(id_, HealthCheck()) is not None
    assert operate(tmp_path, "heal", id_) == 0
    assert world.provider.probe(id_, HealthCheck()) is None


def test_a_machine_can_be_impaired_and_healed(world: World, tmp_path: Path) -> None:
    (id_,) = world.boot(0)
    assert operate(tmp_path, "impair", id_, "--reason", "disk failed") == 0
    assert world.see(id_).impaired == "disk failed"
    assert operate(tmp_path, "heal", id_) == 0
    assert world.see(id_).impaired == ""


def test_a_mishap_can_be_had(world: World, tmp_path: Path) -> None:
    world.boot(0, 1, 2)
    assert operate(tmp_path, "mishap", "kill", "--amount", "2", "--target", "web") == 0
    assert sorted(one.state for one in world.provider.describe("c")) == ["running", "stopped", "stopped"]
    assert operate(tmp_path, "mishap", "no-capacity", "--target", "a") == 0
    assert errors(world.provision(3)) == ["NoCapacity"]
    assert operate(tmp_path, "mishap", "relief") == 0
    world.boot(3)


def test_the_help_tells_what_each_mishap_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        operate(tmp_path, "mishap", "--help")
    shown = capsys.readouterr().out
    assert all(f"{kind:<13} {text}" in shown for kind, text in MISHAPS.items())


def test_calls_of_a_running_program_can_be_made_to_fail(world: World, tmp_path: Path) -> None:
    assert operate(tmp_path, "fail", "describe", "--error", "throttled", "--times", "1") == 0
    with pytest.raises(Throttled):
        world.listed()
    assert world.listed() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kill", "i-nope"], "error: no machine i-nope\n"),
        (["mishap", "kill", "--target", "db"], "error: kill: no machine of 'db' that it could strike\n"),
        (["fail", "tag", "--error", "quota"], "error: only provision can fail with quota, not tag\n"),
    ],
)
def test_a_mistake_is_explained_in_a_line(
    world: World, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert operate(tmp_path, *words) == 1
    assert capsys.readouterr().err == message


def test_a_cloud_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate(tmp_path, "list") == 1
    assert "no simulated cloud in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
