"""The simulated provider keeps the contract, in real and in virtual time, however late its listings are."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infrakit_py.clock import SystemClock, VirtualClock
from infrakit_py.model.spec import Json
from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance
from tests.conformance.simulated_target import simulated_target

LATE: Mapping[str, Json] = {
    "boot_time": {"mean": "20s", "stddev": "5s"},
    "listing_lag": "15s",
    "destroy_time": "30s",
    "gone_listed_for": "1h",
    "provision_delay": "10s",
    "zones": {"a": 40, "b": {"small": 30, "large": 10}},
    "publish_rate": "1MiB",
    "quota": 80,
}
PROMPT: Mapping[str, Json] = {"boot_time": {"min": "10ms", "max": "60ms"}, "destroy_time": "50ms"}


class TestInVirtualTime(ProviderConformance):
    @pytest.fixture(params=[{}, LATE], ids=["as by default", "slow and late"])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConformanceTarget]:
        with simulated_target(tmp_path, VirtualClock(), request.param, within_seconds=300) as target:
            yield target


class TestInRealTime(ProviderConformance):
    @pytest.fixture(params=[PROMPT, {**PROMPT, "listing_lag": "100ms"}], ids=["prompt", "listed late"])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConformanceTarget]:
        with simulated_target(tmp_path, SystemClock(), request.param, within_seconds=10) as target:
            yield target
