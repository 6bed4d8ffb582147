"""What may be changed, and what is refused before it reaches the controller."""

import json
from contextlib import ExitStack, closing

import pytest

from tests.api.asking import WRITER, Answered, Asking
from tests.api.site import SHOP, Site

OTHER = SHOP.replace("name: shop", "name: other")


@pytest.fixture
def writer(api: Asking) -> Asking:
    return api.to(WRITER)


def apply(writer: Asking, files: dict[str, str], query: str = "", **more: object) -> Answered:
    return writer.post(f"/v1/apply{query}", {"files": files, "main": sorted(files)[:1], **more})


def test_files_are_put_in_force_with_the_name_of_who_sent_them(writer: Asking, site: Site) -> None:
    answer = apply(writer, {"other.yml": OTHER})

    assert answer.document == {
        "clusters": [{"cluster": "other", "revision": 1, "changed": True}],
        "dry_run": False,
    }
    assert site.store.declared()["other"].origin.actor == "anna"


def test_a_single_file_may_be_sent_as_it_is(writer: Asking, site: Site) -> None:
    answer = writer.ask("POST", "/v1/apply", OTHER.encode(), {"Content-Type": "application/yaml; charset=utf-8"})

    assert (answer.status, answer.document["clusters"][0]["cluster"]) == (200, "other")
    assert "other" in site.store.declared()


def test_a_dry_run_changes_nothing(writer: Asking, site: Site) -> None:
    answer = apply(writer, {"other.yml": OTHER}, "?dry_run=true")

    assert (answer.status, answer.document["dry_run"]) == (200, True)
    assert "other" not in site.store.declared()


def test_mistakes_are_told_with_their_places_in_the_files_that_were_sent(writer: Asking, site: Site) -> None:
    answer = apply(writer, {"clusters/a.yml": OTHER.replace("size: 3", "size: many")})

    assert answer.status == 422
    (problem,) = answer.document["problems"]
    assert (problem["file"], problem["line"]) == ("clusters/a.yml", 9)
    assert answer.document["detail"].startswith("clusters/a.yml:9:")
    assert "other" not in site.store.declared()


def test_what_does_not_fit_what_is_in_force_is_a_conflict(writer: Asking, site: Site) -> None:
    changed = SHOP.replace("size: 3", "size: 9")

    answer = apply(writer, {"a.yml": changed}, expected={"shop": 7})

    assert (answer.status, answer.document["title"]) == (409, "Conflict")
    assert site.store.declared()["shop"].spec.groups["web"].size == 3


def test_a_group_gets_another_size(writer: Asking, site: Site) -> None:
    answer = writer.post("/v1/clusters/shop/groups/web/scale", {"size": 5, "expected": 1})

    assert answer.document == {"cluster": "shop", "group": "web", "size": 5, "revision": 2, "changed": True}
    assert site.store.declared()["shop"].spec.groups["web"].size == 5


def test_what_cannot_be_scaled_is_refused_with_a_hint(writer: Asking) -> None:
    answer = writer.post("/v1/clusters/shop/groups/db/scale", {"size": 5})

    assert (answer.status, answer.document["hint"]) == (400, "change them in the file")


def test_rollouts_are_paused_and_resumed_by_group(writer: Asking, site: Site) -> None:
    paused = writer.post("/v1/clusters/shop/rollout/pause", {"groups": ["web"], "reason": "looking"})
    assert paused.document == {"done": [{"cluster": "shop", "group": "web", "text": "web is paused (looking)"}]}
    assert site.store.pauses("shop")["web"].reason == "looking"

    assert [one["group"] for one in writer.post("/v1/clusters/shop/rollout/resume").document["done"]] == ["db", "web"]
    assert site.store.pauses("shop") == {}


def test_a_rollout_is_undone(writer: Asking) -> None:
    assert writer.post("/v1/clusters/shop/rollout/undo", {"groups": ["web"]}).status == 200
    assert writer.post("/v1/clusters/shop/rollout/undo", {}).status == 400


@pytest.mark.parametrize("prune", [True, False])
def test_a_cluster_is_withdrawn(writer: Asking, site: Site, *, prune: bool) -> None:
    answer = writer.ask("DELETE", f"/v1/clusters/shop?prune={str(prune).lower()}")

    assert answer.document == {"cluster": "shop", "prune": prune}
    declared = site.store.declared()["shop"]
    assert (declared.withdrawn, declared.prune) == (True, prune)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/v1/clusters/nobody", None),
        ("POST", "/v1/clusters/nobody/rollout/pause", {}),
        ("POST", "/v1/clusters/shop/rollout/pause", {"groups": ["nothing"]}),
        ("POST", "/v1/clusters/nobody/groups/web/scale", {"size": 1}),
        ("POST", "/v1/clusters/shop/groups/nothing/scale", {"size": 1}),
    ],
)
def test_what_is_not_declared_is_not_found(writer: Asking, method: str, path: str, body: object) -> None:
    kind = {"Content-Type": "application/json"} if body is not None else {}

    assert writer.ask(method, path, json.dumps(body).encode() if body is not None else b"", kind).status == 404


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up.yml", "a/../b.yml", "a//b.yml", "./a.yml", ".", "a\\b.yml", "a\nb.yml", "x" * 501],
)
def test_files_that_would_lie_elsewhere_are_refused(writer: Asking, name: str) -> None:
    assert writer.post("/v1/apply", {"files": {name: OTHER}, "main": [name]}).status == 422


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/v1/clusters/shop/groups/web/scale", {}, "size: Field required"),
        ("/v1/clusters/shop/groups/web/scale", {"size": "5"}, "size: Input should be a valid integer"),
        ("/v1/clusters/shop/groups/web/scale", {"size": True}, "size: Input should be a valid integer"),
        ("/v1/clusters/shop/groups/web/scale", {"size": -1}, "size: Input should be greater than or equal to 0"),
        (
            "/v1/clusters/shop/groups/web/scale",
            {"size": 10**30},
            "size: Input should be less than or equal to 100000",
        ),
        ("/v1/clusters/shop/groups/web/scale", {"size": 1, "by": 2}, "by: Extra inputs are not permitted"),
        ("/v1/clusters/shop/groups/web/scale", {"size": float("nan")}, "size: Input should be a valid integer"),
        ("/v1/clusters/shop/groups/web/scale", [1], "Input should be an object"),
        ("/v1/clusters/shop/rollout/pause", {"groups": []}, "groups: List should have at least 1 item"),
        (
            "/v1/clusters/shop/rollout/pause",
            {"reason": "a\nb"},
            "reason: must be one line without control characters",
        ),
        ("/v1/apply", {"files": {"a": "x"}, "main": ["b"]}, "main: 'b' is none of the files"),
        ("/v1/apply", {"files": {}, "main": ["b"]}, "files: Dictionary should have at least 1 item"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_with_what_is_wrong(
    writer: Asking, path: str, body: object, detail: str
) -> None:
    answer = writer.post(path, body)

    assert answer.status == 422
    assert answer.document["detail"].startswith(detail)


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b'{"size": 1}}', b'{"size": \xff}', b"[" * 100_000, b'{"reason": "\\ud800"}'],
    ids=["cut off", "nothing", "too much", "no UTF-8", "deep", "half a character"],
)
def test_what_is_no_json_is_refused(writer: Asking, content: bytes) -> None:
    answer = writer.ask("POST", "/v1/clusters/shop/groups/web/scale", content, {"Content-Type": "application/json"})

    assert answer.status == 400


def test_yaml_that_is_no_text_is_refused(writer: Asking) -> None:
    answer = writer.ask("POST", "/v1/apply", b"a: \xff", {"Content-Type": "application/yaml"})

    assert (answer.status, answer.document["detail"]) == (400, "the body is no UTF-8 text: byte 3 is wrong")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
def test_a_body_of_another_kind_is_refused(writer: Asking, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}

    answer = writer.ask("POST", "/v1/clusters/shop/groups/web/scale", b'{"size": 1}', headers)

    assert (answer.status, answer.document["detail"]) == (415, "the body must be application/json, in UTF-8")


def test_a_body_that_is_too_large_is_refused_and_its_sender_hears_of_it(writer: Asking) -> None:
    answer = writer.ask("POST", "/v1/apply", b" " * (5 * 1024 * 1024), {"Content-Type": "application/json"})

    assert (answer.status, answer.document["detail"]) == (413, "the body is larger than 4 MiB")


def test_a_body_without_a_length_is_cut_off_at_the_same_size(writer: Asking) -> None:
    connection = writer.connection()
    headers = {"Authorization": f"Bearer {WRITER}", "Content-Type": "application/json"}
    chunks = (b" " * 65536 for _ in range(100))
    connection.request("POST", "/v1/apply", chunks, headers, encode_chunked=True)

    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_that_nobody_could_want_is_not_even_read(writer: Asking) -> None:
    connection = writer.connection()
    connection.putrequest("POST", "/v1/apply")
    for name, value in (
        ("Authorization", f"Bearer {WRITER}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(10**12)),
    ):
        connection.putheader(name, value)
    connection.endheaders()

    assert connection.getresponse().status == 413
    connection.close()


def test_changes_that_take_their_time_keep_nobody_from_reading(writer: Asking, site: Site) -> None:
    site.changes.clear()
    headers = {"Authorization": f"Bearer {WRITER}", "Content-Type": "application/yaml"}
    with ExitStack() as stack:
        waiting = [stack.enter_context(closing(writer.connection())) for _ in range(40)]
        for connection in waiting:
            connection.request("POST", "/v1/apply", OTHER.encode(), headers)

        assert writer.get("/v1/clusters").status == 200

        site.changes.set()
        assert {connection.getresponse().status for connection in waiting} == {200}
