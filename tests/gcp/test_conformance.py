"""Compute Engine keeps the contract: over HTTP, against a strict stand-in for it."""

from collections.abc import Iterator

import pytest

from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance
from tests.fakes.gce import FakeSettings
from tests.gcp.ground import fake_target

PROMPT = FakeSettings(boot_seconds=20, delete_seconds=30)
LATE = FakeSettings(boot_seconds=20, delete_seconds=30, listing_lag=10)


class TestOnTheFake(ProviderConformance):
    @pytest.fixture(params=["prompt", "listed late"])
    def target(self, request: pytest.FixtureRequest) -> Iterator[ConformanceTarget]:
        late = request.param == "listed late"
        with fake_target(LATE if late else PROMPT, lag="10s" if late else "0s") as target:
            yield target
