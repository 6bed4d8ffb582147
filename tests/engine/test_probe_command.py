"""Commands that check a machine: what they are told, what their end means, and that nothing of them stays."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_py.engine.probe_command import ask_command
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState

LONG_SECONDS = 20.0
WEB_2 = Instance(
    InstanceId("i-1"),
    {tags.CLUSTER: "shop", tags.GROUP: "web", tags.SLOT: "2"},
    InstanceState.RUNNING,
    0.0,
    ("10.0.0.3", "fd00::3"),
)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return where a script may be written, as `check`."""
    return tmp_path / "check"


def ask(script: Path, text: str, timeout_seconds: float = LONG_SECONDS, instance: Instance = WEB_2) -> str | None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    return ask_command((str(script),), instance, timeout_seconds)


def test_exit_code_zero_is_healthy_whatever_is_printed(script: Path) -> None:
    assert ask(script, "echo trouble; echo trouble >&2; exit 0") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "command check: exit code 3"),
        ("echo starting; echo 'lag is 40s'; exit 1", "command check: lag is 40s"),
        ("echo 'no such table' >&2; exit 255", "command check: no such table"),
        ("printf 'last\\n\\n  \\n'; exit 1", "command check: last"),
        ("printf 'no end of line'; exit 1", "command check: no end of line"),
        (r"printf '\033[31mred\007\n'; exit 1", "command check:  [31mred "),
        (r"printf '\377ound\n'; exit 1", "command check: \N{REPLACEMENT CHARACTER}ound"),
        ("printf '%0500d' 7; exit 1", "command check: " + "0" * 200),
        ("exit 143", "command check: exit code 143"),
    ],
    ids=["silent", "last line", "errors", "blank lines", "unfinished", "terminal codes", "no text", "long", "128+n"],
)
def test_another_exit_code_is_unhealthy_for_the_last_line_that_was_printed(
    script: Path, text: str, reason: str
) -> None:
    assert ask(script, text) == reason


def test_a_command_that_prints_a_lot_is_not_held_up_by_that(script: Path) -> None:
    many = "i=0; while [ $i -lt 3000 ]; do printf '%01000d\\n' $i; i=$((i+1)); done; echo done; exit 1"
    assert ask(script, many) == "command check: done"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 126", "exit code 126"),
        ("exit 127", "exit code 127"),
        ("no-such-program-anywhere", "not found"),
        ("kill -TERM $$", "signal 15 ended it"),
    ],
    ids=["126", "127", "missing within", "killed"],
)
def test_a_command_that_could_not_do_its_work_says_nothing(script: Path, text: str, why: str) -> None:
    with pytest.raises(ProviderError, match=f"check.*{why}"):
        ask(script, text)


def test_a_program_that_is_missing_or_none_says_nothing(script: Path) -> None:
    with pytest.raises(ProviderError, match="cannot run command check here: No such file or directory"):
        ask_command((str(script),), WEB_2, LONG_SECONDS)
    script.write_text("exit 0\n")
    with pytest.raises(ProviderError, match="cannot run command check here: Permission denied"):
        ask_command((str(script),), WEB_2, LONG_SECONDS)
    script.chmod(0o755)
    with pytest.raises(ProviderError, match="cannot run command check here: Exec format error"):
        ask_command((str(script),), WEB_2, LONG_SECONDS)
    script.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ProviderError, match="cannot run command check here: No such file or directory"):
        ask_command((str(script),), WEB_2, LONG_SECONDS)
    with pytest.raises(ProviderError, match="cannot run command true here"):
        ask_command(("true", "a\0b"), WEB_2, LONG_SECONDS)


def test_the_words_are_not_for_a_shell(tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert ask_command(("test", "$HOME; touch", "=", "$HOME; touch"), WEB_2, LONG_SECONDS) is None
    assert ask_command(("test", "a", "=", f"b; touch {target}"), WEB_2, LONG_SECONDS) == "command test: exit code 1"
    assert not target.exists()


def test_a_command_knows_which_machine_is_meant(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    monkeypatch.setenv("INFRAKIT_ADDRESS", "of somebody else")
    shown = "echo $FROM_OUTSIDE $INFRAKIT_CLUSTER $INFRAKIT_GROUP $INFRAKIT_MACHINE $INFRAKIT_INSTANCE" + (
        " $INFRAKIT_ADDRESS $INFRAKIT_ADDRESSES; exit 1"
    )
    assert ask(script, shown) == "command check: kept shop web web-2 i-1 10.0.0.3 10.0.0.3,fd00::3"


def test_a_machine_without_addresses_has_empty_ones(script: Path) -> None:
    named = Instance(InstanceId("i-2"), {tags.LOGICAL_ID: "db-a"}, InstanceState.RUNNING, 0.0)
    shown = 'echo "$INFRAKIT_MACHINE [$INFRAKIT_ADDRESS] [$INFRAKIT_ADDRESSES]"; exit 1'
    assert ask(script, shown, instance=named) == "command check: db-a [] []"


@pytest.fixture
def operator() -> Iterator[None]:
    """Let this process have an input on which nothing ever comes."""
    here, there = os.pipe()
    before = os.dup(0)
    os.dup2(here, 0)
    yield
    os.dup2(before, 0)
    for file in (here, there, before):
        os.close(file)


def test_a_command_has_neither_input_nor_terminal_to_ask_at(script: Path, operator: None) -> None:
    assert ask(script, "cat; cut -d' ' -f6 /proc/$$/stat | grep -qx $$ && echo 'its own session'; exit 1") == (
        "command check: its own session"
    )


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[Path]:
    """Yield the file to which a script writes the number of a child, and end what should have been ended."""
    path = tmp_path / "pid"
    yield path
    if path.exists() and is_alive(path):
        os.kill(int(path.read_text()), signal.SIGKILL)


def is_alive(path: Path) -> bool:
    """Tell whether the process still runs. One that nobody waits for stays a zombie, which is as good as dead."""
    try:
        stat = Path(f"/proc/{int(path.read_text())}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def dies(path: Path) -> bool:
    """Tell whether it is dead within a while: a killed process needs a moment."""
    deadline = time.monotonic() + LONG_SECONDS
    while is_alive(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(path)


def test_at_its_timeout_a_command_is_killed_with_its_children(script: Path, left_behind: Path) -> None:
    begun = time.monotonic()
    stubborn = f"trap '' TERM INT HUP; sleep 300 & echo $! >{left_behind}; while :; do wait; done"
    assert ask(script, stubborn, timeout_seconds=0.5) == "command check: timed out"
    assert time.monotonic() - begun < LONG_SECONDS
    assert dies(left_behind)


def test_a_child_that_holds_the_output_open_holds_up_nothing_and_is_killed(script: Path, left_behind: Path) -> None:
    begun = time.monotonic()
    assert ask(script, f"sleep 300 & echo $! >{left_behind}; echo bye; exit 1") == "command check: bye"
    assert time.monotonic() - begun < LONG_SECONDS
    assert dies(left_behind)


def test_a_command_that_closes_its_output_is_waited_for(script: Path) -> None:
    assert ask(script, "exec >&- 2>&-; sleep 0.3; exit 4") == "command check: exit code 4"
    assert ask(script, "exec >&- 2>&-; sleep 300", timeout_seconds=0.3) == "command check: timed out"


def test_an_exit_code_that_the_system_threw_away_says_nothing(script: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ProviderError, match="its exit code is lost"):
            ask(script, "exit 1")
    finally:
        signal.signal(signal.SIGCHLD, before)
