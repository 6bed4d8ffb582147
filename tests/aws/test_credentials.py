"""Credentials that end do not end a run: a role's are got anew, and so is what the server calls expired."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from infrakit_py.clock import SystemClock
from infrakit_py.errors import PluginError, ProviderError
from infrakit_py.model.spec import Json
from tests.aws.ground import SETTINGS, fake_ec2, opened
from tests.fakes.ec2 import FakeEC2

ROLE: Mapping[str, Json] = {
    **SETTINGS,
    "assume_role": {"role_arn": "arn:aws:iam::123456789012:role/infrakit", "external_id": "shop", "duration": "1h"},
}


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()  # botocore knows no other


@pytest.fixture
def fake(clock: SystemClock) -> Iterator[FakeEC2]:
    with fake_ec2(clock=clock) as fake:
        yield fake


def expire(fake: FakeEC2) -> None:
    """End all temporary credentials before their time, as a role's owner can."""
    with fake.world.lock:
        for token, session in fake.world.sessions.items():
            fake.world.sessions[token] = replace(session, expires_at=0.0)


def test_a_role_is_assumed_once_and_used(fake: FakeEC2, clock: SystemClock) -> None:
    provider = opened(clock, ROLE)
    for _ in range(3):
        provider.describe("shop")
    assert fake.calls["AssumeRole"] == 1
    provider.close()


def test_a_role_is_assumed_again_when_its_credentials_have_expired(fake: FakeEC2, clock: SystemClock) -> None:
    provider = opened(clock, ROLE)
    provider.describe("shop")
    expire(fake)
    provider.describe("shop")
    assert fake.calls["AssumeRole"] == 2
    provider.close()


def test_a_role_that_is_not_ours_is_told_with_what_to_do(fake: FakeEC2, clock: SystemClock) -> None:
    fake.close_role("infrakit")
    provider = opened(clock, ROLE)
    with pytest.raises(ProviderError, match="AccessDenied") as caught:
        provider.describe("shop")
    assert not caught.value.retryable
    assert caught.value.hint
    provider.close()


def test_no_credentials_are_told_with_what_to_do(
    fake: FakeEC2, clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    provider = opened(clock)
    with pytest.raises(ProviderError, match="credentials") as caught:
        provider.describe("shop")
    assert not caught.value.retryable
    assert caught.value.hint
    provider.close()


def test_an_unknown_profile_is_told(fake: FakeEC2, clock: SystemClock) -> None:
    provider = opened(clock, {**SETTINGS, "profile": "nobody"})
    with pytest.raises((ProviderError, PluginError), match="nobody"):
        provider.describe("shop")
    provider.close()
