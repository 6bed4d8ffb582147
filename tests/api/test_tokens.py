"""Who may ask, and who may change something."""

from pathlib import Path

import pytest

from infrakit_py.api.server import RunningServer
from infrakit_py.api.tokens import Role, read_tokens
from infrakit_py.errors import SpecError
from tests.api.asking import READER, WRITER, Asking
from tests.api.conftest import Serve
from tests.api.site import Site

READS = [
    "/metrics",
    "/v1/clusters",
    "/v1/clusters/shop",
    "/v1/clusters/shop/revisions",
    "/v1/clusters/shop/history",
    "/v1/sources",
    "/v1/controllers",
    "/v1/events",
    "/v1/events/stream",
]
WRITES = [
    ("POST", "/v1/apply"),
    ("DELETE", "/v1/clusters/shop"),
    ("POST", "/v1/clusters/shop/groups/web/scale"),
    ("POST", "/v1/clusters/shop/rollout/pause"),
    ("POST", "/v1/clusters/shop/rollout/resume"),
    ("POST", "/v1/clusters/shop/rollout/undo"),
]
OPEN = ["/healthz", "/readyz", "/openapi.json"]
UNKNOWN = [
    {},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer nobody-knows-this-token"},
    {"Authorization": f"Basic {WRITER}"},
    {"Authorization": WRITER},
    {"Authorization": f"Bearer {WRITER[:-1]}"},
    {"Authorization": f"Bearer {WRITER}x"},
    {"Authorization": "Bearer \xe4\xf6"},
]


def document(api: Asking) -> dict[str, dict[str, dict[str, str]]]:
    paths: dict[str, dict[str, dict[str, str]]] = api.get("/openapi.json").document["paths"]
    return paths


def test_these_are_all_operations_that_there_are(api: Asking) -> None:
    paths = document(api)
    roles = {
        (method.upper(), path.replace("{cluster}", "shop").replace("{group}", "web")): operation.get("x-role")
        for path, operations in paths.items()
        for method, operation in operations.items()
    }

    assert {place for place, role in roles.items() if role == "write"} == set(WRITES)
    assert {path for (_, path), role in roles.items() if role == "read"} == set(READS)
    assert {path for (_, path), role in roles.items() if role is None} == {*OPEN, "/webhooks/git"}


@pytest.mark.parametrize(("method", "path"), [*WRITES, *(("GET", path) for path in READS)])
def test_without_a_known_token_nothing_is_answered(api: Asking, site: Site, method: str, path: str) -> None:
    before = site.store.declared()

    for headers in UNKNOWN:
        answer = api.to("").ask(method, path, b"", headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")

    assert site.store.declared() == before


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_who_may_only_read_changes_nothing(api: Asking, site: Site, method: str, path: str) -> None:
    before = site.store.declared()

    answer = api.to(READER).ask(method, path)

    assert (answer.status, answer.document["detail"]) == (403, "the token of grafana may only read")
    assert site.store.declared() == before


@pytest.mark.parametrize("path", [path for path in READS if path != "/v1/events/stream"])
@pytest.mark.parametrize("token", [READER, WRITER], ids=["read", "write"])
def test_both_roles_may_read(api: Asking, path: str, token: str) -> None:
    assert api.to(token).get(path).status == 200


@pytest.mark.parametrize("path", OPEN)
def test_some_things_are_told_to_everybody(api: Asking, path: str) -> None:
    assert api.to("").get(path).status == 200


def test_without_tokens_everybody_here_reads_and_nobody_writes(serving: Serve, site: Site) -> None:
    api = Asking(serving().url)

    assert api.get("/v1/clusters").status == 200
    for method, path in WRITES:
        answer = api.to(WRITER).ask(method, path)
        assert (answer.status, answer.document["hint"]) == (403, "set api.tokens to a file of them")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7180", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:80", 200),
        ("[::1]:7180", 200),
        ("[::1]", 200),
        ("evil.example:7180", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ],
)
def test_without_tokens_no_other_name_leads_here(serving: Serve, host: str, status: int) -> None:
    assert Asking(serving().url).get("/v1/clusters", Host=host).status == status


def test_tokens_are_read_anew_and_wrong_ones_leave_the_old(api: Asking, server: RunningServer, tokens: Path) -> None:
    tokens.write_text("anna read another-token-0123456789\n")
    server.reload()
    assert api.to(READER).get("/v1/clusters").status == 401
    assert api.to("another-token-0123456789").get("/v1/clusters").status == 200

    tokens.write_text("anna read\n")
    with pytest.raises(SpecError, match=r"tokens:1:1: must be NAME ROLE TOKEN"):
        server.reload()
    assert api.to("another-token-0123456789").get("/v1/clusters").status == 200


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("anna write\n", "tokens:1:1: must be NAME ROLE TOKEN, where the role is read or write"),
        ("# all\n\nanna admin 0123456789abcdef\n", "tokens:3:1: must be NAME ROLE TOKEN"),
        ("anna read 0123456789abcde\n", "tokens:1:1: the token must have at least 16 characters"),
        ("anna read 0123456789abcdef\nbob write 0123456789abcdef\n", "tokens:2:1: has the token of another line"),
        ("a/b read 0123456789abcdef\n", "tokens:1:1: the name must hold only letters"),
        ("# nobody\n", "tokens: holds no token"),
    ],
)
def test_a_wrong_line_is_named_and_its_token_is_not(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(SpecError) as caught:
        read_tokens(file)

    assert complaint in str(caught.value)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused(tokens: Path, mode: int) -> None:
    tokens.chmod(mode)

    with pytest.raises(SpecError, match=r"tokens: others can read or change it: its mode is 0[0-7]{3}"):
        read_tokens(tokens)


def test_a_group_may_read_the_file_as_kubernetes_mounts_it(tokens: Path) -> None:
    tokens.chmod(0o440)

    found = read_tokens(tokens).caller(f"Bearer {WRITER}")

    assert found is not None
    assert found.role is Role.WRITE


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file or directory"):
        read_tokens(tmp_path / "tokens")


def test_tokens_are_not_shown_by_what_holds_them(tokens: Path) -> None:
    assert "known" not in repr(read_tokens(tokens))
