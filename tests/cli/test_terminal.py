"""At a terminal: it asks first, shows what goes on, and Ctrl-C stops it at a safe point."""

import time

import pytest

from tests.cli.shell import Shell, cluster, web
from tests.cli.terminal import terminal

CTRL_C = "\x03"


@pytest.mark.parametrize("answer", ["n\n", "\n", CTRL_C], ids=["no", "nothing", "ctrl-c"])
def test_whoever_does_not_say_yes_changes_nothing(answer: str, shell: Shell) -> None:
    shell.write(cluster(web=web()))
    with terminal(shell, "apply") as shown:
        shown.expect("Do this? [y/N]:")
        time.sleep(0.5)  # CPython misses a signal that comes just before it begins to read
        shown.type(answer)
        assert shown.end() == 130
        assert "aborted; nothing more is done" in shown.shown
        assert "Traceback" not in shown.shown
    assert shell.machines() == []


def test_yes_goes_on_and_shows_live_what_happens(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "1s"}))
    with terminal(shell, "apply") as shown:
        shown.expect("Plan: +3 create")
        shown.expect("Do this? [y/N]:")
        shown.type("y\n")
        shown.expect("web-0: 0 of 3 wanted")
        shown.expect("0 of 3 current and ready")
        assert shown.end() == 0
        assert "shop: converged" in shown.shown
        assert "\x1b[32m" in shown.raw
    assert shell.names() == ["web-0", "web-1", "web-2"]


@pytest.mark.parametrize(("columns", "shows"), [(79, True), (45, False)])
def test_a_narrow_terminal_shows_fewer_columns_on_one_line_a_group(columns: int, shows: bool, shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "1s"}))
    with terminal(shell, "apply", "--auto-approve", columns=columns) as shown:
        shown.expect("web  working")
        assert shown.end() == 0
    rows = [line for line in shown.shown.splitlines() if "web  working" in line]
    assert any("0 of 3 current and ready" in row for row in rows) == shows
    assert not any("starting" in row for row in rows)


def test_destroying_asks_too(converged: Shell) -> None:
    before = converged.ids()
    with terminal(converged, "destroy") as shown:
        shown.expect("Destroy all of this? [y/N]:")
        shown.type("n\n")
        assert shown.end() == 130
        assert "its data is lost" in shown.shown
    assert converged.ids() == before


def test_ctrl_c_stops_at_a_safe_point_and_says_what_is_left(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "30s"}))
    with terminal(shell, "apply", "--auto-approve") as shown:
        shown.expect("created    web-2")
        shown.type(CTRL_C)
        assert shown.end() == 130
        assert "stopping at the next safe point; again to stop at once" in shown.shown
        assert "shop: interrupted" in shown.shown
        assert "0 of 3 current and ready" in shown.shown
        assert "run the same command again to go on from here" in shown.shown


def test_ctrl_c_twice_stops_at_once_and_leaves_the_terminal_usable(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "30s", "provision_delay": "60s"}))
    with terminal(shell, "apply", "--auto-approve") as shown:
        shown.expect("creating   web-2")
        shown.type(CTRL_C)
        shown.expect("again to stop at once")
        shown.type(CTRL_C)
        assert shown.end(seconds=5) == 130
        assert shown.raw.rindex("\x1b[?25h") > shown.raw.rindex("\x1b[?25l"), "the cursor stays hidden"
