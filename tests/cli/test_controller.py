"""`infra controller`: clusters stay as declared, whatever happens to them, to their files, and to the controller."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import INFRA, Shell, cluster, db, eventually, web

CLOUD = (sys.executable, "-m", "infrakit_providers.simulated")


@dataclass
class Controller:
    """A controller at work in a shell's directory, its output in files."""

    shell: Shell
    arguments: tuple[str, ...] = ()
    number: int = 0
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        with self._path("out").open("wb") as out, self._path("err").open("wb") as err:
            self.process = subprocess.Popen(
                [*INFRA, "controller", *self.arguments],
                cwd=self.shell.work,
                env=self.shell.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._path("out").read_text()

    @property
    def err(self) -> str:
        return self._path("err").read_text()

    @property
    def events(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so many times."""
        eventually(lambda: (self.out + self.err).count(text) >= times, f"{text!r} in\n{self.out}\n{self.err}")

    def end(self, *signals: signal.Signals, seconds: float = 10.0) -> int:
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _path(self, stream: str) -> Path:
        return self.shell.root / f"controller-{self.number}.{stream}"


Start = Callable[..., Controller]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start controllers; whatever becomes of the test, none outlives it."""
    begun: list[Controller] = []

    def begin(shell: Shell, *arguments: str) -> Controller:
        begun.append(Controller(shell, arguments, len(begun)))
        return begun[-1]

    yield begin
    for controller in begun:
        controller.kill()
        print(controller.out, controller.err, sep="\n")
        assert "Traceback" not in controller.err


def cloud(shell: Shell, *arguments: str) -> None:
    """Meddle with the machines as somebody else would."""
    subprocess.run([*CLOUD, str(shell.database), *arguments], env=shell.environment(), check=True)


def quickly(claim: Callable[[], bool], what: str) -> None:
    eventually(claim, what, seconds=15.0)


def test_a_cluster_is_brought_to_what_its_file_declares_and_nobody_is_asked(shell: Shell, start: Start) -> None:
    shell.write(cluster(web=web(), db=db()))
    controller = start(shell)
    controller.says("shop/web     converged")
    controller.says("shop/db      converged")
    assert shell.names() == ["db-1", "db-2", "db-3", "web-0", "web-1", "web-2"]
    assert shell.infra("plan", "--detailed-exitcode").code == 0


def test_a_machine_that_dies_is_replaced(converged: Shell, start: Start) -> None:
    start(converged).says("shop/web     converged")
    victim, *others = [machine.id for machine in converged.machines() if machine.name.startswith("web")]
    cloud(converged, "kill", victim)

    def healed() -> bool:
        now = [machine.id for machine in converged.machines() if machine.name.startswith("web")]
        return len(now) == 3 and set(others) < set(now) and victim not in now

    quickly(healed, "the dead machine is replaced, and no other")


def test_a_changed_file_is_taken_up(converged: Shell, start: Start) -> None:
    controller = start(converged)
    controller.says("shop/web     converged")
    names = [machine.id for machine in converged.machines() if machine.name.startswith("db")]
    converged.write(cluster(web=web(4, image="a2"), db=db()))
    controller.says("cluster.yml has changed")
    controller.says("4 of 4 ready")
    assert len(converged.machines()) == 7
    assert [machine.id for machine in converged.machines() if machine.name.startswith("db")] == names
    assert len({machine.image for machine in converged.machines()}) == 2
    assert converged.infra("plan", "--detailed-exitcode").code == 0


def test_what_changes_no_machine_and_no_group_is_no_change(converged: Shell, start: Start) -> None:
    controller = start(converged)
    controller.says("shop/web     converged")
    path = converged.work / "cluster.yml"
    path.write_text("# a comment\n" + path.read_text())
    time.sleep(3.0)  # in real time: longer than a change takes to be noticed
    assert "changed" not in controller.out
    assert controller.out.count("converged") == 2


def test_a_changed_file_of_user_data_is_taken_up(shell: Shell, start: Start) -> None:
    (shell.work / "data.txt").write_text("one")
    shell.write(cluster(web=web(1, flavor={"user_data": {"file": "data.txt"}})))
    controller = start(shell)
    controller.says("converged")
    before = shell.ids()
    (shell.work / "data.txt").write_text("two")
    controller.says("has changed")
    controller.says("converged", times=2)
    assert len(shell.ids()) == 1
    assert shell.ids() != before


def test_a_broken_file_is_reported_with_every_place_once_and_the_last_good_one_is_kept(
    converged: Shell, start: Start
) -> None:
    controller = start(converged)
    controller.says("shop/web     converged")
    good = (converged.work / "cluster.yml").read_text()
    (converged.work / "cluster.yml").write_text(good.replace("size: 3", "size: -3").replace("image: a1", "image: a9"))
    controller.says("what they declared before is kept")
    places = [tuple(map(int, line.split(":")[1:3])) for line in controller.err.splitlines()]
    assert len(places) == 3
    assert places == sorted(set(places))
    assert "3 mistakes in the files" in controller.out
    victim = converged.ids()[-1]
    cloud(converged, "kill", victim)
    quickly(lambda: victim not in converged.ids() and len(converged.ids()) == 6, "healing goes on")
    time.sleep(2.5)  # in real time: a second look at the same mistakes
    assert controller.out.count("invalid") == 1
    converged.write(cluster(web=web(2), db=db()))
    controller.says("there is no mistake in the files any more")
    controller.says("cluster.yml has changed")
    quickly(lambda: len(converged.ids()) == 5, "the repaired file is taken up")
    (converged.work / "cluster.yml").unlink()
    controller.says("cluster.yml: cannot be read: No such file or directory")
    assert controller.process.poll() is None


def test_a_file_that_is_being_written_is_not_taken_up(converged: Shell, start: Start) -> None:
    controller = start(converged)
    controller.says("shop/web     converged")
    path = converged.work / "cluster.yml"
    whole = path.read_text()
    cut = whole[: whole.index("  db:")]
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline:
        path.write_text(cut)
        time.sleep(0.3)
        path.write_text(whole)
        time.sleep(0.05)
    assert "changed" not in controller.out
    assert "blocked" not in controller.out
    assert len(converged.ids()) == 6


@pytest.mark.parametrize("allowed", [False, True], ids=["blocked", "allowed"])
def test_a_group_that_left_the_file_goes_only_where_that_is_allowed(
    allowed: bool, converged: Shell, start: Start
) -> None:
    controller = start(converged, *(["--allow-mass-destroy"] if allowed else []))
    controller.says("shop/web     converged")
    converged.write(cluster(web=web()))
    controller.says("has changed")
    if allowed:
        quickly(lambda: converged.names() == ["web-0", "web-1", "web-2"], "the machines of db go")
    else:
        controller.says("shop/db      blocked")
        assert len(converged.ids()) == 6


@pytest.mark.long
def test_several_files_are_kept_and_one_that_leaves_is_let_go(shell: Shell, start: Start) -> None:
    shell.write(cluster("one", web=web(1)), file="clusters/one.yml")
    shell.write(cluster("two", web=web(1)), file="clusters/two.yml")
    controller = start(shell, "clusters", "--json")
    eventually(lambda: len(shell_machines(shell)) == 2, "both are made")
    shell.write(cluster("three", web=web(1)), file="clusters/three.yml")
    (shell.work / "clusters" / "one.yml").unlink()
    eventually(lambda: len(shell_machines(shell)) == 3, "the third is made, the first stays")
    said = {(event["cluster"], event["event"]) for event in controller.events}
    assert {("one", "left"), ("three", "keeping"), ("three", "created")} <= said
    held = shell.infra("destroy", "--auto-approve", "clusters/two.yml")
    assert "is being changed by another process" in held.err
    shell.write(cluster("one", web=web(1)), file="one.yml")
    assert shell.infra("apply", "--auto-approve", "one.yml").code == 0


def shell_machines(shell: Shell) -> list[str]:
    """Return the machines of clusters whose files lie below `clusters`, as their providers' files do."""
    inside = Shell(shell.root)
    database = shell.work / "clusters" / ".infrakit" / "simulated.db"
    if not database.exists():
        return []
    out = subprocess.run([*CLOUD, str(database), "list"], env=inside.environment(), capture_output=True, text=True)
    return [line.split()[0] for line in out.stdout.splitlines()[1:] if " running " in line]


def test_json_is_an_object_a_line_also_of_mistakes(converged: Shell, start: Start) -> None:
    controller = start(converged, "--json")
    controller.says('"converged"', times=2)
    good = (converged.work / "cluster.yml").read_text()
    (converged.work / "cluster.yml").write_text(good.replace("size: 3", "size: x"))
    controller.says('"invalid"')
    controller.end(signal.SIGTERM)
    (mistakes,) = [event["errors"] for event in controller.events if "errors" in event]
    assert mistakes[0]["file"] == "cluster.yml"
    assert mistakes[0]["line"] > 1
    events = [event for event in controller.events if "errors" not in event]
    assert all({"at", "event", "cluster", "text"} <= event.keys() for event in events)
    assert [event["event"] for event in events][-2:] == ["stopping", "stopped"]
    assert controller.err == ""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)], ids=lambda number: number.name
)
def test_a_stop_ends_it_within_seconds_and_leaves_no_lock(number: signal.Signals, shell: Shell, start: Start) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "30s"}))
    controller = start(shell)
    controller.says("starting: not running yet")
    assert shell.infra("apply", "--auto-approve").code == 1
    began = time.monotonic()
    assert controller.end(number) == 0
    assert time.monotonic() - began < 3.0
    assert "stopping" in controller.out
    shell.write(cluster(web=web(), provider={"boot_time": "100ms"}))
    result = shell.infra("destroy", "--auto-approve")
    assert result.code == 0, result


def test_a_call_that_was_begun_is_waited_for_and_none_begun_after_it(shell: Shell, start: Start) -> None:
    shell.write(cluster(web=web(), db=db(depends_on=["web"]), provider={"provision_delay": "2s"}))
    controller = start(shell)
    controller.says("creating")
    time.sleep(0.5)  # it is told just before
    assert controller.end(signal.SIGTERM) == 0
    assert shell.names() == ["web-0", "web-1", "web-2"]


def test_a_second_signal_ends_it_at_once(shell: Shell, start: Start) -> None:
    shell.write(cluster(web=web(), provider={"provision_delay": "60s"}))
    controller = start(shell)
    controller.says("creating")
    time.sleep(0.5)  # it is told just before
    controller.process.send_signal(signal.SIGTERM)
    controller.says("stopping")
    assert controller.process.poll() is None
    assert controller.end(signal.SIGTERM, seconds=3.0) == 130


def test_killed_in_mid_rollout_it_goes_on_when_started_again(converged: Shell, start: Start) -> None:
    before = set(converged.ids())
    first = start(converged)
    first.says("shop/web     converged")
    converged.write(cluster(web=web(image="a2"), db=db(image="a2"), provider={"boot_time": "500ms"}))
    eventually(lambda: not set(converged.ids()) <= before, "the rollout begins")
    first.kill()
    second = start(converged)
    second.says("shop/web     converged")
    second.says("shop/db      converged")
    assert len(converged.machines()) == 6
    assert len({machine.image for machine in converged.machines()}) == 1
    assert not before & set(converged.ids())


def test_a_provider_that_cannot_be_opened_is_opened_later(shell: Shell, start: Start) -> None:
    (shell.work / "clouds").write_text("a file where a directory should be")
    document = cluster(web=web(1), other=web(1, provider="late"))
    document["providers"]["late"] = {**document["providers"]["sim"], "database": "clouds/late.db"}
    shell.write(document)
    controller = start(shell)
    controller.says("shop/web     converged")
    controller.says("shop/other   failed")
    assert controller.process.poll() is None
    (shell.work / "clouds").unlink()
    eventually(lambda: "shop/other   converged" in controller.out, "the provider is opened", seconds=30.0)
    assert len(shell.machines()) == 1


@pytest.mark.long
def test_what_settled_is_looked_at_without_a_word_and_without_much_work(converged: Shell, start: Start) -> None:
    controller = start(converged)
    controller.says("shop/web     converged")
    controller.says("shop/db      converged")
    time.sleep(1.0)
    said, spent = controller.out, processor_seconds(controller.process.pid)
    time.sleep(3.0)
    assert controller.out == said
    assert processor_seconds(controller.process.pid) - spent < 1.0


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", ["invalid", "locked", "standard input"])
def test_what_cannot_be_begun_ends_at_once_and_says_why(how: str, converged: Shell, start: Start) -> None:
    if how == "invalid":
        converged.write(cluster(web=web(-1)))
        result = converged.infra("controller")
        assert result.code == 64
        assert "cluster.yml:" in result.err
    elif how == "locked":
        first = start(converged)
        first.says("converged")
        result = converged.infra("controller")
        assert result.code == 1
        assert f"is being changed by another process (pid {first.process.pid})" in result.err
    else:
        result = converged.infra("controller", "-")
        assert result.code == 64
        assert "standard input" in result.err
