"""What a user may write, what is said of mistakes, and how the plugin opens a cloud."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from infrakit_providers.simulated import plugin
from infrakit_providers.simulated.settings import SimMachine, SimSettings
from infrakit_py.clock import SystemClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import MachineReview, Pace, Probing, ProviderContext, Rehearsing
from tests.simulated.worlds import request

Mapping = dict[str, Json]


def complaints(settings: Mapping, machine: Mapping, *, named: bool = False) -> list[str]:
    review = MachineReview(settings, machine, None, named)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in plugin.review(review)]


def test_everything_that_a_user_may_write_is_accepted() -> None:
    written: Mapping = {
        "database": "cloud.db",
        "seed": 3,
        "boot_time": {"mean": "2s", "stddev": "500ms", "min": "1s", "max": "9s"},
        "provision_delay": "1s",
        "destroy_time": "30s",
        "gone_listed_for": "1h",
        "listing_lag": "5s",
        "zones": {"a": 100, "b": {"small": 3, "large": 2}, "c": None},
        "quota": 100,
        "limits": "ec2",
        "failure_rate": 0.01,
        "mean_time_between_failures": "30d",
        "sick_images": ["broken"],
        "missing_images": ["absent"],
        "publish_rate": "100MiB",
    }
    settings = SimSettings.model_validate(written)
    assert settings.boot_time.at(0.5) == 2
    assert SimSettings.model_validate(settings.model_dump(mode="json", exclude_unset=True)).quota == 100


@pytest.mark.parametrize(
    ("written", "where", "message"),
    [
        ({"nope": 1}, ("nope",), "Extra inputs are not permitted"),
        ({"boot_time": 5}, ("boot_time",), "Input should be a valid dictionary or instance of Spread"),
        ({"boot_time": "5"}, ("boot_time",), "not a duration"),
        ({"boot_time": {"min": "3s", "max": "1s"}}, ("boot_time",), "min is longer than max"),
        ({"boot_time": {"min": "3s"}}, ("boot_time",), "write a duration, or min and max, or mean and stddev"),
        ({"listing_lag": 5}, ("listing_lag",), "write a duration with its unit"),
        ({"zones": {}}, ("zones",), "at least 1"),
        ({"zones": {"a": -1}}, ("zones", "a"), "write how many machines there are"),
        ({"zones": {"a": True}}, ("zones", "a"), "write how many machines there are"),
        ({"zones": {"a": {"small": "x"}}}, ("zones", "a"), "write how many machines there are"),
        ({"failure_rate": 1.5}, ("failure_rate",), "less than or equal to 1"),
        ({"mean_time_between_failures": "0s"}, ("mean_time_between_failures",), "greater than 0"),
        ({"limits": "gce"}, ("limits",), "'none' or 'ec2'"),
        ({"sick_images": "x"}, ("sick_images",), "not allowed as a Sequence"),
        ({"sick_images": [""]}, ("sick_images", 0), "at least 1 character"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_mistake_in_the_settings_is_found(written: Mapping, where: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SimSettings.model_validate(written)
    (found,) = caught.value.errors()
    assert found["loc"] == where
    assert message in found["msg"]


@pytest.mark.parametrize(
    "written", [{"typ": "x"}, {"type": ""}, {"zones": []}, {"data_disk": 5}, {"data_disk": "0B"}]
)
def test_a_mistake_in_a_machine_is_found(written: Mapping) -> None:
    with pytest.raises(ValidationError):
        SimMachine.model_validate(written)


def test_a_machine_without_mistakes_is_not_complained_of() -> None:
    settings: Mapping = {"zones": {"a": {"small": 1, "large": 1}, "b": {"small": 1}}}
    assert complaints(settings, {"type": "large", "zones": ["a", "b"], "data_disk": "1GiB"}, named=True) == []


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        ({"zones": ["a", "mars"]}, "zones.1: no zone 'mars' (there are a, b)"),
        ({"data_disk": "1GiB"}, "data_disk: interchangeable machines keep no data disk; use logical_ids, not size"),
        ({"type": "huge"}, "type: no zone has 'huge' machines (there are small, large)"),
        ({"type": "large", "zones": ["b"]}, "type: no zone has 'large' machines (there are small)"),
    ],
)
def test_a_mistake_that_the_models_cannot_see_is_complained_of(machine: Mapping, complaint: str) -> None:
    settings: Mapping = {"zones": {"a": {"small": 1, "large": 1}, "b": {"small": 1}}}
    assert complaints(settings, machine) == [complaint]


def test_the_database_is_below_the_specs_directory(tmp_path: Path) -> None:
    provider = plugin.open({}, ProviderContext(SystemClock(), tmp_path))
    provider.close()
    assert (tmp_path / ".infrakit/simulated.db").is_file()


def test_machines_are_still_there_in_the_next_command(tmp_path: Path) -> None:
    context = ProviderContext(SystemClock(), tmp_path)
    first = plugin.open({}, context)
    first.provision([request(0)])
    before = [one.id for one in first.describe("c")]
    first.close()
    second = plugin.open({}, context)
    assert [one.id for one in second.describe("c")] == before
    second.close()


def test_a_cloud_in_memory_is_not_shared(tmp_path: Path) -> None:
    context = ProviderContext(SystemClock(), tmp_path)
    one, other = (plugin.open({"database": ":memory:"}, context) for _ in range(2))
    one.provision([request(0)])
    assert (len(one.describe("c")), len(other.describe("c"))) == (1, 0)
    assert not list(tmp_path.iterdir())
    one.close()
    other.close()


def test_it_answers_health_checks_itself(tmp_path: Path) -> None:
    provider = plugin.open({"database": ":memory:"}, ProviderContext(SystemClock(), tmp_path))
    assert isinstance(provider, Probing)
    provider.close()


def test_a_change_can_be_rehearsed_on_it(tmp_path: Path) -> None:
    provider = plugin.open({"database": ":memory:"}, ProviderContext(SystemClock(), tmp_path))
    assert isinstance(provider, Rehearsing)
    assert all(provider.mishaps.values())
    provider.close()


def test_the_zones_are_the_machines_or_all_of_the_clouds(tmp_path: Path) -> None:
    settings: Mapping = {"database": ":memory:", "zones": {"a": None, "b": 3, "c": None}}
    provider = plugin.open(settings, ProviderContext(SystemClock(), tmp_path))
    assert provider.zones({}) == ("a", "b", "c")
    assert provider.zones({"type": "large", "zones": ["c", "a"]}) == ("c", "a")
    provider.close()


@pytest.mark.parametrize(
    ("settings", "pace"),
    [
        ({}, Pace(boot_seconds=2.0)),
        ({"boot_time": {"min": "10s", "max": "20s"}}, Pace(boot_seconds=15.0)),
        (
            {
                "boot_time": {"mean": "30s", "stddev": "9s"},
                "destroy_time": "7s",
                "listing_lag": "5s",
                "provision_delay": "3s",
            },
            Pace(30.0, 7.0, 5.0, 3.0),
        ),
    ],
    ids=["as by default", "between", "all that is set"],
)
def test_the_pace_is_what_the_settings_say(tmp_path: Path, settings: Mapping, pace: Pace) -> None:
    provider = plugin.open({"database": ":memory:", **settings}, ProviderContext(SystemClock(), tmp_path))
    assert provider.pace == pace
    provider.close()


def test_a_database_of_another_release_is_refused_with_a_hint(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "sim.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ProviderError, match="written by another release") as caught:
        plugin.open({"database": "sim.db"}, ProviderContext(SystemClock(), tmp_path))
    assert caught.value.hint


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sim.db").write_text("this is not a database, and long enough to be looked at" * 20)
    with pytest.raises(ProviderError, match="not a database"):
        plugin.open({"database": "sim.db"}, ProviderContext(SystemClock(), tmp_path))


def test_importing_the_plugin_opens_and_loads_nothing() -> None:
    probe = "import sys, infrakit_providers.simulated; print('sqlite3' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
