"""What the keys of health, rollout, healing and budget become."""

import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.errors import SpecError
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import (
    GroupSpec,
    HealingSpec,
    HealthCheck,
    HttpCheck,
    OnFailure,
    RolloutSpec,
    Strategy,
    VictimOrder,
    Window,
)
from tests.loading.documents import EVERY_KEY, group, loaded, loaded_group

ROOT = Path(__file__).parents[2]
HOUR = 3600


def test_every_check_of_health_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, EVERY_KEY).groups["web"].health == HealthCheck(
        tcp=8080,
        http=HttpCheck(
            port=8443,
            path="/healthz?full=1",
            https=True,
            verify=False,
            host="shop.example",
            headers={"X-A": "b", "Accept": "text/plain"},
            status=((200, 299), (304, 304)),
            body="^ok$",
        ),
        command=("/usr/local/bin/check", "--strict"),
        flavor=True,
        interval_seconds=2,
        timeout_seconds=0.5,
        healthy_after=2,
        unhealthy_after=4,
        grace_seconds=5400,
    )


def test_every_key_of_a_rolling_rollout_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, EVERY_KEY).groups["web"].rollout == RolloutSpec(
        strategy=Strategy.ROLLING,
        max_surge=Amount(25, percent=True),
        max_unavailable=Amount(1),
        steps=(Amount(1), Amount(25, percent=True), Amount(50, percent=True)),
        bake_seconds=300,
        min_ready_seconds=30,
        failure_limit=Amount(2),
        on_failure=OnFailure.ROLLBACK,
        order=VictimOrder.NEWEST,
        windows=(
            Window(22 * 60, 4 * HOUR, (0, 1, 2, 3), "Europe/Berlin"),
            Window(7 * 60 + 30, 1.5 * HOUR),
            Window(0, 7 * 24 * HOUR, (0, 4, 5, 6)),
        ),
        paused=True,
        drain_timeout_seconds=10,
        progress_deadline_seconds=900,
    )


def test_blue_green_may_keep_the_old_machines(tmp_path: Path) -> None:
    rollout = loaded(tmp_path, EVERY_KEY).groups["blue"].rollout
    assert rollout == RolloutSpec(strategy=Strategy.BLUE_GREEN, keep_old_seconds=600)


def test_healing_and_what_replaces_healthy_machines_are_read(tmp_path: Path) -> None:
    web = loaded(tmp_path, EVERY_KEY).groups["web"]
    assert web.healing == HealingSpec(
        back_off_seconds=20,
        max_back_off_seconds=600,
        max_unhealthy=Amount(4),
        max_failed_launches=6,
        retry_seconds=HOUR,
        max_alike=4,
    )
    assert (web.scale_down, web.max_age_seconds, web.rebalance) == (VictimOrder.OLDEST, 30 * 24 * HOUR, True)


def test_a_cluster_s_budget_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, EVERY_KEY).max_unavailable == Amount(2)
    assert loaded(tmp_path, EVERY_KEY.replace("{max_unavailable: 2}", "{}")).max_unavailable is None
    assert loaded(tmp_path, group("size: 1")).max_unavailable is None


def test_there_is_a_key_for_every_field(tmp_path: Path) -> None:
    groups = loaded(tmp_path, EVERY_KEY).groups.values()
    plain = GroupSpec(name="", provider="", image="", health=HealthCheck(http=HttpCheck(port=0)))
    unwritten = set.intersection(*(still_default(group, plain) for group in groups))
    assert unwritten == {"logical_ids", "flavor.kind"}


def still_default(value: Any, default: Any, name: str = "") -> set[str]:
    if is_dataclass(value) and is_dataclass(default) and not isinstance(value, Amount):
        steps = ((field.name, getattr(value, field.name), getattr(default, field.name)) for field in fields(value))
        return {at for step, own, other in steps for at in still_default(own, other, f"{name}.{step}".strip("."))}
    return {name} if value == default else set()


@pytest.mark.parametrize(
    ("written", "ranges"),
    [
        ("200", ((200, 200),)),
        ('"204"', ((204, 204),)),
        ("200-299", ((200, 299),)),
        ("[200, 301-308, 404]", ((200, 200), (301, 308), (404, 404))),
    ],
    ids=["a code", "a code as text", "a range", "a list of both"],
)
def test_a_status_is_a_code_or_a_range_or_a_list_of_both(
    tmp_path: Path, written: str, ranges: tuple[tuple[int, int], ...]
) -> None:
    web = loaded_group(tmp_path, f"size: 1, health: {{http: {{port: 80, status: {written}}}}}")
    assert web.health.http == HttpCheck(port=80, status=ranges)


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("wed", (2,)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("fri-mon", (0, 4, 5, 6)),
        ("sun-sun", (6,)),
        ("[sat, mon-wed, tue, sat]", (0, 1, 2, 5)),
    ],
    ids=["a day", "a range", "over the week's end", "of one day", "a list of both"],
)
def test_days_are_one_or_a_range_or_a_list_of_both(tmp_path: Path, written: str, days: tuple[int, ...]) -> None:
    window = f"{{days: {written}, start: 22:00, duration: 4h}}"
    web = loaded_group(tmp_path, f"size: 1, rollout: {{windows: [{window}]}}")
    assert web.rollout.windows == (Window(22 * 60, 4 * HOUR, days),)


@pytest.mark.parametrize(
    ("written", "minutes"),
    [("22:00", 1320), ('"22:00"', 1320), ("0:00", 0), ("00:01", 1), ("7:05", 425), ("23:59", 1439)],
)
def test_a_time_of_day_needs_no_quotes(tmp_path: Path, written: str, minutes: int) -> None:
    """YAML 1.1 would read 22:00 as the number 1320, and 7:05 as a text."""
    web = loaded_group(tmp_path, f"size: 1, rollout: {{windows: [{{start: {written}, duration: 1h}}]}}")
    assert web.rollout.windows == (Window(minutes, HOUR),)


def test_a_time_zone_may_come_from_the_environment(tmp_path: Path) -> None:
    keys = 'size: 1, rollout: {windows: [{start: 22:00, duration: 1h, time_zone: "${env:ZONE:-UTC}"}]}'
    assert loaded_group(tmp_path, keys).rollout.windows[0].time_zone == "UTC"
    zone = loaded_group(tmp_path, keys, {"ZONE": "Australia/Lord_Howe"}).rollout.windows[0].time_zone
    assert zone == "Australia/Lord_Howe"


@pytest.mark.parametrize(
    "written", ["max_age: null", "max_age: ", "rebalance: false"], ids=["null", "empty", "absent"]
)
def test_without_an_age_no_machine_is_too_old(tmp_path: Path, written: str) -> None:
    assert loaded_group(tmp_path, f"size: 1, {written}").max_age_seconds is None


@pytest.mark.parametrize(
    ("size", "steps"),
    [
        (1, "[1, 25%, 50%]"),
        (2, "[1%, 2%, 99%, 100%]"),
        (3, "[1, 25%, 2, 60%, 3]"),
        (4, "[25%, 1, 26%]"),
        (10, "[1, 11%, 20%, 50%, 10]"),
        (0, "[1, 25%, 50]"),
        (10, "[]"),
    ],
    ids=["one machine", "percentages of two", "mixed", "equal", "all", "no machine", "no steps"],
)
def test_steps_may_come_to_the_same_in_a_small_group(tmp_path: Path, size: int, steps: str) -> None:
    assert loaded_group(tmp_path, f"size: {size}, rollout: {{steps: {steps}}}").count == size


def test_named_machines_may_have_steps(tmp_path: Path) -> None:
    web = loaded_group(tmp_path, "logical_ids: [a, b, c], rollout: {strategy: rolling, steps: [1, 50%], bake: 5m}")
    assert web.rollout.steps == (Amount(1), Amount(50, percent=True))


@pytest.mark.parametrize("strategy", ["recreate", "blue_green"])
def test_all_at_once_may_bake_and_wait_for_readiness(tmp_path: Path, strategy: str) -> None:
    web = loaded_group(tmp_path, f"size: 3, rollout: {{strategy: {strategy}, bake: 5m, min_ready: 30s}}")
    assert (web.rollout.bake_seconds, web.rollout.min_ready_seconds) == (300, 30)


@pytest.mark.parametrize("budget", ["0", "0%"])
def test_a_budget_of_nothing_suits_groups_that_bring_the_new_machine_first(tmp_path: Path, budget: str) -> None:
    text = group("size: 3").replace("groups:", f"budget: {{max_unavailable: {budget}}}\ngroups:")
    assert loaded(tmp_path, text).max_unavailable == Amount.parse(budget if "%" in budget else int(budget))


def test_a_secret_in_a_header_appears_in_no_message(tmp_path: Path) -> None:
    keys = 'size: 1, health: {http: {port: 80, headers: {Authorization: "Bearer ${env:TOKEN}"}}}'
    health = loaded_group(tmp_path, keys, {"TOKEN": "s3cr3t"}).health
    assert health.http == HttpCheck(port=80, headers={"Authorization": "Bearer s3cr3t"})
    with pytest.raises(SpecError, match=r"must be a single line .*\(got 'Bearer \$\{env:TOKEN\}'\)"):
        loaded_group(tmp_path, keys, {"TOKEN": "s3cr3t\n"})


@pytest.mark.parametrize("depth", [50, 50_000])
def test_a_regular_expression_may_be_too_deep_but_breaks_nothing(tmp_path: Path, depth: int) -> None:
    keys = f"size: 1, health: {{http: {{port: 80, body: '{'(' * depth}{')' * depth}'}}}}"
    if depth > 1000:
        with pytest.raises(SpecError, match="is no regular expression that can be used: it is too large"):
            loaded_group(tmp_path, keys)
    else:
        assert loaded_group(tmp_path, keys).health.http


def test_without_a_time_zone_database_only_utc_is_known(tmp_path: Path) -> None:
    keys = "size: 1, rollout: {windows: [{start: 22:00, duration: 1h, time_zone: Europe/Berlin}]}"
    (tmp_path / "cluster.yml").write_text(group(keys))
    (tmp_path / "utc.yml").write_text(group(keys.replace("Europe/Berlin", "UTC")))
    assert messages_without_database(tmp_path / "utc.yml") == ""
    told = "cannot be looked up: there is no time zone database here; install tzdata (got 'Europe/Berlin')"
    assert messages_without_database(tmp_path / "cluster.yml").strip().endswith(told)


def messages_without_database(file: Path) -> str:
    """Load in a process of its own that finds neither the system's database nor the tzdata package."""
    code = """
import sys
from pathlib import Path
sys.modules["tzdata"] = None
from infrakit_py.errors import SpecError
from infrakit_py.images import read_image
from infrakit_py.loading import load
from tests.loading.stubs import StubCatalog
try:
    load([Path(sys.argv[1])], StubCatalog(), {}, read_image)
except SpecError as exc:
    print(exc)
"""
    environment = {**os.environ, "PYTHONTZPATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code, str(file)], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return run.stdout
