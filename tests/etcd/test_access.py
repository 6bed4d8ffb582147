"""Who may speak with etcd: certificates, users, and what is said where it does not work."""

import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infrakit_py.errors import PluginError, StoreError
from infrakit_py.model.controller import EtcdAddress
from infrakit_py.spi.store import Intent
from infrakit_py.stores.etcd import open_etcd
from tests.etcd.certificates import certificates
from tests.etcd.servers import Servers, Tls, running, until

INTENT = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)
PASSWORD = "not-to-be-seen"
PATIENT_TTL = 60.0
"""etcd takes its time to look at a password, the more so where much else runs."""


def use(address: EtcdAddress) -> None:
    """Live, own, write, read, and go."""
    store, claims = open_etcd(replace(address, ttl_seconds=PATIENT_TTL), "one")
    try:
        claims.beat()
        with store.exclusive("shop"):
            store.record([INTENT])
        assert store.intents("shop") == [INTENT]
        claims.resign()
    finally:
        store.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, tls: Tls) -> Iterator[Servers]:
    options = (
        "--cert-file", str(tls.cert), "--key-file", str(tls.key), "--trusted-ca-file", str(tls.ca),
        "--client-cert-auth",
    )  # fmt: skip
    with running(tmp_path_factory.mktemp("secured"), 1, options, tls) as servers:
        yield servers


def test_both_ends_show_certificates(secured: Servers, tls: Tls) -> None:
    use(replace(secured.address(), ca=tls.ca, cert=tls.cert, key=tls.key))


def test_the_environment_s_certificates_and_proxies_do_not_count(
    secured: Servers, tls: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates(tmp_path / "others").ca))
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    use(replace(secured.address(), ca=tls.ca, cert=tls.cert, key=tls.key))


@pytest.mark.parametrize("mistake", ["unknown authority", "no certificate"])
def test_what_is_not_trusted_is_told_with_a_hint(secured: Servers, tls: Tls, tmp_path: Path, mistake: str) -> None:
    others = certificates(tmp_path / "others")
    if mistake == "no certificate":
        address = replace(secured.address(), ca=tls.ca)
    else:
        address = replace(secured.address(), ca=others.ca, cert=tls.cert, key=tls.key)
    with pytest.raises(StoreError, match="does not answer") as caught:
        use(address)
    assert caught.value.hint is not None
    assert "ca, cert and key" in caught.value.hint


def test_a_certificate_file_that_is_missing_is_named(secured: Servers, tls: Tls, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(StoreError, match=r"missing\.pem"):
        use(replace(secured.address(), ca=missing, cert=tls.cert, key=tls.key))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Servers]:
    """A server with a user that may touch one prefix only."""
    with running(tmp_path, 1) as servers:
        (node,) = servers.nodes

        def key(text: str) -> str:
            return b64encode(text.encode()).decode()

        permission = {"permType": "READWRITE", "key": key("/ours/"), "range_end": key("/ours0")}
        for path, body in (
            ("auth/user/add", {"name": "root", "password": "root's"}),
            ("auth/role/add", {"name": "root"}),
            ("auth/user/grant", {"user": "root", "role": "root"}),
            ("auth/user/add", {"name": "infrakit", "password": PASSWORD}),
            ("auth/role/add", {"name": "controllers"}),
            ("auth/role/grant", {"name": "controllers", "perm": permission}),
            ("auth/user/grant", {"user": "infrakit", "role": "controllers"}),
            ("auth/enable", {}),
        ):
            assert "header" in node.ask(path, body), path
        yield servers


def _as_user(servers: Servers, prefix: str = "/ours", password: str = PASSWORD) -> EtcdAddress:
    return replace(servers.address(prefix=prefix), username="infrakit", password=password)


def test_a_user_may_use_its_prefix_and_no_other(guarded: Servers) -> None:
    use(_as_user(guarded))
    with pytest.raises(StoreError, match="permission denied") as caught:
        use(_as_user(guarded, prefix="/theirs"))
    assert caught.value.hint is not None
    assert "under the prefix" in caught.value.hint


def test_who_is_not_known_is_told_so_without_the_password(guarded: Servers) -> None:
    for address in (guarded.address(prefix="/ours"), _as_user(guarded, password=PASSWORD + "x")):
        with pytest.raises(StoreError) as caught:
            use(address)
        assert PASSWORD not in str(caught.value) + repr(caught.value) + str(caught.value.hint)
        assert caught.value.hint == "check username and password"


def test_a_token_that_is_not_known_any_more_is_asked_for_anew(guarded: Servers) -> None:
    (node,) = guarded.nodes
    store, claims = open_etcd(replace(_as_user(guarded), ttl_seconds=PATIENT_TTL), "one")
    claims.beat()
    node.kill()
    guarded.start(node)
    until(lambda: node.ask("kv/range", {"key": "YQ=="}) != {}, "it is back")
    store.record([INTENT])
    assert store.intents("shop") == [INTENT]
    claims.resign()
    store.close()


def test_credentials_where_etcd_wants_none_are_an_error(etcd: Servers) -> None:
    with pytest.raises(StoreError, match="authentication is not enabled") as caught:
        use(_as_user(etcd))
    assert caught.value.hint is not None
    assert "leave username and password out" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["127.0.0.1:2379", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(StoreError, match="no URL"):
        open_etcd(EtcdAddress((endpoint,)), "one")


def test_something_else_than_etcd_is_told_apart(etcd: Servers) -> None:
    (node,) = etcd.nodes
    with pytest.raises(StoreError, match=r"etcd at 127\.0\.0\.1"):
        use(EtcdAddress((node.peer_url,)))


def test_the_client_is_imported_when_it_is_needed_and_missing_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys, infrakit_py.stores.etcd; print({'etcd3gw', 'requests'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
    monkeypatch.setitem(sys.modules, "etcd3gw", None)
    with pytest.raises(PluginError) as caught:
        open_etcd(EtcdAddress(("http://127.0.0.1:1",)), "one")
    assert caught.value.hint == "pip install 'infrakit-py[etcd]'"
