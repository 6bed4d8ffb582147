"""Credentials that end do not end a run, and those that are of no use are told with what to do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infrakit_providers.gcp import plugin
from infrakit_py.clock import SystemClock, VirtualClock
from infrakit_py.errors import ProviderError
from infrakit_py.spi.provider import Provider, ProviderContext
from tests.fakes.gce import FakeGCE
from tests.gcp.ground import SETTINGS, fake_gce, opened


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeGCE]:
    with fake_gce() as fake:  # Google's library knows no clock but the machine's
        yield fake


def refused(provider: Provider) -> ProviderError:
    """Return how a listing is refused for want of good credentials, once and for all."""
    with pytest.raises(ProviderError) as caught:
        provider.describe("shop")
    provider.close()
    assert not caught.value.retryable
    assert caught.value.hint
    return caught.value


def test_credentials_that_are_revoked_in_mid_run_are_got_anew(fake: FakeGCE) -> None:
    provider = opened(SystemClock())
    provider.describe("shop")
    fake.revoke()
    provider.describe("shop")
    provider.close()


def test_no_credentials_are_told(fake: FakeGCE, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert "credentials" in str(refused(opened(SystemClock())))


def test_a_key_file_that_is_not_there_is_told(fake: FakeGCE) -> None:
    error = refused(opened(SystemClock(), {**SETTINGS, "credentials": "keys/none.json"}))
    assert "keys/none.json" in str(error)


def test_a_key_file_is_found_beside_the_cluster_file(fake: FakeGCE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    settings = {**SETTINGS, "credentials": fake.credentials.name}
    provider = plugin.open(settings, ProviderContext(SystemClock(), fake.credentials.parent))
    assert provider.describe("shop") == []
    provider.close()


def test_a_key_that_google_does_not_know_is_told(fake: FakeGCE, tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {**json.loads(fake.credentials.read_text()), "private_key": other.decode()}
    (tmp_path / "key.json").write_text(json.dumps(key))
    assert "authError" in str(refused(opened(SystemClock(), {**SETTINGS, "credentials": str(tmp_path / "key.json")})))


def test_a_permission_that_is_missing_is_told_by_its_name_and_not_asked_for_again(fake: FakeGCE) -> None:
    fake.deny("compute.instances.list")
    assert "compute.instances.list" in str(refused(opened(SystemClock())))
    assert fake.calls["instances.aggregatedList"] == 1
