"""User data as LinuxKit's metadata package reads it: the attribute `user-data`, and every byte of it."""

import json
from typing import Final

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.spi.provider import Outcome, Provider, ProvisionRequest
from tests.fakes.gce import FakeGCE
from tests.gcp.ground import MACHINE, image

LIMIT: Final = 262_144
"""Bytes of one value: API reference, Metadata."""
LINUXKIT: Final = json.dumps(
    {
        "ssh": {"entries": {"authorized_keys": {"perm": "0600", "content": "ssh-ed25519 AAAA me\n"}}},
        "motd": {"content": 'grüße, "world"\t\\n\r\n\u2028 \U0001f40b {{ no }} ${template}\n'},
    },
    ensure_ascii=False,
    indent=1,
).encode()


def provision(provider: Provider, user_data: bytes) -> Outcome:
    token = tags.token("shop", "web", "0", 0)
    own = {tags.CLUSTER: "shop", tags.GROUP: "web", tags.SLOT: "0", tags.INCARNATION: "0", tags.TOKEN: token}
    [outcome] = provider.provision([ProvisionRequest(token, "web-0", own, image(), MACHINE, user_data)])
    return outcome


@pytest.mark.parametrize(
    "user_data",
    [LINUXKIT, b"#cloud-config\nhostname: web\n", b'{"a":{"content":"' + b"x" * (LIMIT - 20) + b'"}}'],
    ids=["LinuxKit's", "cloud-init's", "as long as may be"],
)
def test_user_data_arrives_byte_for_byte(
    provider: Provider, fake: FakeGCE, clock: VirtualClock, user_data: bytes
) -> None:
    assert provision(provider, user_data).error is None
    clock.sleep(60)
    [name] = fake.names("RUNNING")
    assert fake.metadata_of(name)["user-data"].encode() == user_data
    assert "userdata" not in fake.metadata_of(name)


def test_user_data_that_is_too_long_is_refused_before_anything_is_asked_for(
    provider: Provider, fake: FakeGCE
) -> None:
    error = provision(provider, b"x" * (LIMIT + 1)).error
    assert str(error) == f"gcp: the user data has {LIMIT + 1} bytes, and metadata takes {LIMIT}"
    assert fake.names() == []
