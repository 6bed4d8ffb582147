"""Asking a controller: answers, refusals, and all the ways in which no answer comes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import Conflict, InfrakitError, Problem, SpecError, UsageError
from infrakit_py.remote.address import address
from infrakit_py.remote.client import Client, below
from infrakit_py.remote.faults import ConnectionLost, ServerError
from tests.certificates import self_signed
from tests.remote.host import Asked, Reply, host

SECRET = "s3cret-token"


def client(url: str, *, token: str = "", ca_file: Path | None = None, timeout_seconds: float = 5.0) -> Client:
    return Client(address(url, token=token, ca_file=ca_file), timeout_seconds, VirtualClock())


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda _: reply


def problem(status: int, detail: str = "it is so", **more: Any) -> Reply:
    document = {"type": "about:blank", "title": "T", "status": status, "detail": detail, **more}
    return Reply(json.dumps(document).encode(), status, "application/problem+json")


def test_a_document_is_asked_for_with_the_token_and_the_query() -> None:
    with host(always(Reply(b'{"clusters": []}'))) as there:
        asked = client(there.url, token=SECRET)
        assert asked.get(below("clusters", "a/b c"), {"limit": 5, "cluster": None, "dry_run": True}) == {
            "clusters": []
        }
    (request,) = there.asked
    assert request.target == "/v1/clusters/a%2Fb%20c?limit=5&dry_run=true"
    assert request.headers["authorization"] == f"Bearer {SECRET}"


def test_without_a_token_none_is_sent() -> None:
    with host(always(Reply())) as there:
        client(there.url).get("/v1/clusters")
    assert "authorization" not in there.asked[0].headers


def test_what_is_sent_is_json() -> None:
    with host(always(Reply(b'{"changed": true}'))) as there:
        assert client(there.url).post("/v1/apply", {"files": {"ä": "ö"}}) == {"changed": True}
        client(there.url).delete("/v1/clusters/shop", {"prune": False})
    posted, deleted = there.asked
    assert json.loads(posted.body) == {"files": {"ä": "ö"}}
    assert posted.headers["content-type"] == "application/json"
    assert (deleted.method, deleted.target) == ("DELETE", "/v1/clusters/shop?prune=false")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, UsageError, 64),
        (401, UsageError, 64),
        (403, UsageError, 64),
        (404, UsageError, 64),
        (409, Conflict, 1),
        (413, UsageError, 64),
        (422, UsageError, 64),
        (500, ServerError, 1),
        (503, ServerError, 1),
    ],
)
def test_a_refusal_is_our_own_error_and_names_the_server(status: int, kind: type[InfrakitError], code: int) -> None:
    with host(always(problem(status, "no such group", hint="look again"))) as there, pytest.raises(kind) as caught:
        client(there.url).get("/v1/clusters")
    assert str(caught.value) == f"server {there.url}: no such group"
    assert caught.value.hint == "look again"
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("status", "hint"), [(401, "--token-file"), (403, "role write"), (409, "decide anew")])
def test_a_refusal_without_a_hint_gets_one(status: int, hint: str) -> None:
    with host(always(problem(status))) as there, pytest.raises(InfrakitError) as caught:
        client(there.url).post("/v1/apply", {})
    assert hint in (caught.value.hint or "")


def test_mistakes_in_files_keep_their_places() -> None:
    wrong = [
        {"file": "b.yml", "line": 3, "column": 5, "message": "is\nwrong"},
        {"file": "a.yml", "line": "x", "column": None},
        "nonsense",
    ]
    with host(always(problem(422, problems=wrong))) as there, pytest.raises(SpecError) as caught:
        client(there.url).post("/v1/apply", {})
    assert caught.value.problems == (Problem("a.yml", 0, 0, "is wrong"), Problem("b.yml", 3, 5, "is wrong"))


def test_what_a_proxy_answers_is_an_error_of_the_server() -> None:
    with host(always(Reply(b"<html>", 502, "text/html"))) as there, pytest.raises(ServerError, match="Bad Gateway"):
        client(there.url).get("/v1/clusters")


def test_what_a_server_says_can_do_nothing_to_a_terminal() -> None:
    with host(always(problem(400, "a\x1b[2Jb\r\nc" + "x" * 9000))) as there, pytest.raises(UsageError) as caught:
        client(there.url).get("/v1/clusters")
    text = str(caught.value)
    assert text.isprintable()
    assert f"{there.url}: a [2Jb c" in text
    assert len(text) < 700


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_not_believed(body: bytes) -> None:
    with host(always(Reply(body))) as there, pytest.raises(ServerError) as caught:
        client(there.url).get("/v1/clusters")
    assert "is this the address of a controller's API?" in (caught.value.hint or "")


def test_a_redirect_is_not_followed_so_that_the_token_stays() -> None:
    with host(always(Reply())) as elsewhere:
        to = {"Location": f"{elsewhere.url}/v1/clusters?secret=1"}
        with host(always(Reply(b"", 302, headers=to))) as there, pytest.raises(ServerError) as caught:
            client(there.url, token=SECRET).get("/v1/clusters")
        assert elsewhere.asked == []
    assert "is elsewhere now: http://127.0.0.1/v1/clusters" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("broken", [Reply(hangs_up=True), Reply(b"{", cut=True)], ids=["before", "amid"])
def test_a_question_is_asked_again_when_the_connection_is_lost(broken: Reply) -> None:
    replies = [broken, broken, Reply(b'{"a": 1}')]
    with host(lambda _: replies.pop(0)) as there:
        assert client(there.url).get("/v1/clusters") == {"a": 1}


def test_a_question_is_not_asked_for_ever() -> None:
    with host(always(Reply(hangs_up=True))) as there, pytest.raises(ConnectionLost, match="the connection was lost"):
        client(there.url).get("/v1/clusters")
    assert len(there.asked) == 3


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_change_is_asked_for_once_and_its_doubt_is_said(method: str) -> None:
    with host(always(Reply(hangs_up=True))) as there:
        asked = client(there.url)
        change = {"post": lambda: asked.post("/v1/apply", {}), "delete": lambda: asked.delete("/v1/clusters/shop")}
        with pytest.raises(ConnectionLost) as caught:
            change[method]()
    assert len(there.asked) == 1
    assert "it may have been done all the same" in (caught.value.hint or "")


def test_nobody_there_is_one_line_and_a_hint() -> None:
    with host(always(Reply())) as there:
        pass
    with pytest.raises(ConnectionLost) as caught:
        client(there.url).get("/v1/clusters")
    assert str(caught.value) == f"server {there.url}: nobody listens there"
    assert "does the controller run" in (caught.value.hint or "")


def test_an_answer_that_does_not_come_in_time_is_given_up() -> None:
    from threading import Event

    late = Event()

    def never(_: Asked) -> Reply:
        late.wait(10)
        return Reply(hangs_up=True)

    with host(never) as there:
        try:
            with pytest.raises(ConnectionLost, match="no answer in time"):
                client(there.url, timeout_seconds=0.1).post("/v1/apply", {})
        finally:
            late.set()


def test_a_certificate_counts_if_its_authority_is_named(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with host(always(Reply(b'{"a": 1}')), certificate) as there:
        assert client(there.url, token=SECRET, ca_file=certificate).get("/v1/clusters") == {"a": 1}
        with pytest.raises(ServerError) as caught:
            client(there.url, token=SECRET).get("/v1/clusters")
        assert "its certificate is not trusted: self-signed certificate" in str(caught.value)
        assert "--ca" in (caught.value.hint or "")
    assert len(there.asked) == 1


def test_https_to_a_server_without_it_says_so() -> None:
    with host(always(Reply())) as there, pytest.raises(ServerError, match="no TLS connection"):
        client(there.url.replace("http:", "https:")).get("/v1/clusters")


@pytest.mark.parametrize(
    ("content", "why"), [(b"x", "no certificates"), (None, "cannot be read")], ids=["bad", "gone"]
)
def test_an_authority_that_cannot_be_read_is_said_before_anything_is_sent(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        client("https://127.0.0.1:1", ca_file=file)


def test_this_machine_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with host(always(Reply(b"{}", 500))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with host(always(Reply(b'{"a": 1}'))) as there:
            assert client(there.url, token=SECRET).get("/v1/clusters") == {"a": 1}
    assert proxy.asked == []


def test_other_machines_are_asked_through_the_environment_s_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with host(always(Reply(b'{"a": 1}'))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert client("http://infra.example.com").get("/v1/clusters") == {"a": 1}
    assert proxy.asked[0].target == "http://infra.example.com/v1/clusters"


def test_a_proxy_sees_no_token_of_https(monkeypatch: pytest.MonkeyPatch) -> None:
    with host(always(Reply(b"no", 403, "text/plain"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(ServerError):
            client("https://infra.example.com", token=SECRET).get("/v1/clusters")
    assert proxy.asked[0].method == "CONNECT"
    assert SECRET not in str(proxy.asked)


def test_no_error_shows_the_token() -> None:
    def reflecting(asked: Asked) -> Reply:
        return problem(400, "no", hint="no")

    errors: Mapping[str, Callable[[Asked], Reply]] = {
        "refused": reflecting,
        "lost": always(Reply(hangs_up=True)),
        "nonsense": always(Reply(b"<html>")),
    }
    for answer in errors.values():
        with host(answer) as there, pytest.raises(InfrakitError) as caught:
            client(there.url, token=SECRET).get("/v1/clusters")
        assert SECRET not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
