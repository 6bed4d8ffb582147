"""What may be read, and how it is said."""

import pytest

from infrakit_py.errors import Fenced, StoreError
from infrakit_py.model.declared import Origin, Refusal, SourceKind, SourceStatus
from infrakit_py.render.standing import at_json
from tests.api.asking import Asking
from tests.api.site import SECRET_DATA, SHOP, Broken, Site


def test_a_cluster_is_told_in_short(api: Asking, site: Site) -> None:
    (shop,) = api.get("/v1/clusters").document["clusters"]

    assert (shop["cluster"], shop["revision"], shop["owner"], shop["phase"]) == ("shop", 1, "c1", "converged")
    assert (shop["ready"], shop["wanted"], shop["converged"]) == (3, 5, False)
    assert shop["origin"] == {"kind": "files", "place": "clusters", "version": "", "actor": "c1"}
    assert (shop["withdrawn"], shop["prune"]) == (False, False)
    assert shop["declared_at"] == at_json(site.store.declared()["shop"].at)
    assert shop["as_of"].endswith("+00:00")


def test_a_cluster_is_as_badly_off_as_its_worst_group(api: Asking, site: Site) -> None:
    site.phases = {"web": "converged", "db": "blocked"}

    assert api.get("/v1/clusters/shop").document["phase"] == "blocked"


def test_a_cluster_is_told_with_its_groups_and_machines_by_name(api: Asking) -> None:
    shop = api.get("/v1/clusters/shop").document

    assert [group["group"] for group in shop["groups"]] == ["db", "web"]
    web = shop["groups"][1]
    assert (web["wanted"], web["ready"], web["engine_phase"], web["phase"]) == (3, 2, "converged", "baking")
    assert [machine["condition"] for machine in web["machines"]] == ["ready", "ready", "starting"]


def test_revisions_are_told_with_where_they_came_from(api: Asking, site: Site) -> None:
    site.declare(SHOP.replace("size: 3", "size: 4"), Origin(SourceKind.GIT, "repo main", "abc123", "c1"))

    found = api.get("/v1/clusters/shop/revisions").document

    assert [(one["number"], one["origin"]["kind"]) for one in found["revisions"]] == [(1, "files"), (2, "git")]
    assert found["revisions"][1]["origin"]["version"] == "abc123"


def test_history_is_told_of_a_group_and_the_latest_first_cut(api: Asking, site: Site) -> None:
    for group in ("web", "db", "web"):
        site.pause("shop", [group], "looking", "anna")
        site.resume("shop", [group], "anna")

    entries = api.get("/v1/clusters/shop/history?group=web&limit=3").document["entries"]

    assert [(entry["group"], entry["event"]) for entry in entries] == [
        ("web", "resumed"),
        ("web", "paused"),
        ("web", "resumed"),
    ]


def test_a_refused_version_of_a_source_is_told_with_its_reason(api: Asking, site: Site) -> None:
    origin = Origin(SourceKind.GIT, "repo main", "def456")
    refusal = Refusal(origin, 1_750_000_000.0, "cluster.yml:3:1: unknown key\ncluster.yml:9:1: no such image")
    site.store.note_source(SourceStatus("repo", SourceKind.GIT, "abc123", "", refusal, "", 1_750_000_001.0))

    assert api.get("/v1/sources").document == {
        "sources": [
            {
                "name": "repo",
                "kind": "git",
                "in_force": "abc123",
                "in_progress": "",
                "refusal": {"at": "2025-06-15T15:06:40.000+00:00", "reason": refusal.reason, "version": "def456"},
                "complaint": "",
                "at": "2025-06-15T15:06:41.000+00:00",
            }
        ]
    }


def test_living_controllers_are_told_with_what_they_own(api: Asking) -> None:
    assert api.get("/v1/controllers").document["controllers"] == [
        {"name": "c1", "leader": True, "owns": ["shop"], "address": "https://c1:7180"},
        {"name": "c2", "leader": False, "owns": [], "address": ""},
    ]


def test_events_are_told_page_by_page(api: Asking, site: Site) -> None:
    for number in range(5):
        site.happen(f"machine {number}")

    latest = api.get("/v1/events?limit=2").document
    page = api.get("/v1/events?after=1&limit=2").document
    rest = api.get(f"/v1/events?after={page['next']}").document
    nothing = api.get(f"/v1/events?after={rest['next']}").document

    assert [event["text"] for event in latest["events"]] == ["machine 3", "machine 4"]
    assert [event["text"] for event in page["events"]] == ["machine 1", "machine 2"]
    assert [event["text"] for event in rest["events"]] == ["machine 3", "machine 4"]
    assert nothing == {"events": [], "next": rest["next"]}
    assert page["events"][0]["fields"] == {"name": "web-1", "size": 1}
    assert page["events"][0]["event"] == "created"


def test_events_of_one_cluster_are_told_alone(api: Asking, site: Site) -> None:
    site.happen("ours")
    site.happen("theirs", cluster="other")

    events = api.get("/v1/events?cluster=other").document["events"]

    assert [event["text"] for event in events] == ["theirs"]


@pytest.mark.parametrize("path", ["", "/revisions", "/history"])
def test_a_cluster_that_nobody_declares_is_not_found(api: Asking, path: str) -> None:
    answer = api.get(f"/v1/clusters/nobody{path}")

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.document == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no cluster is called 'nobody'",
    }


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/clusters?colour=red", "colour: Extra inputs are not permitted"),
        ("/v1/events?limit=0", "limit: Input should be greater than or equal to 1"),
        ("/v1/events?limit=10001", "limit: Input should be less than or equal to 10000"),
        ("/v1/events?limit=1.0", "limit: must be a whole number"),
        ("/v1/events?after=-1", "after: must be a whole number"),
        ("/v1/events?after=9999999999999999999", "after: Input should be less than or equal to 9223372036854775807"),
        ("/v1/events?limit=1&limit=2", "limit is given more than once"),
        ("/v1/clusters/shop/history?limit=", "limit: must be a whole number"),
    ],
)
def test_wrong_parameters_are_refused_with_what_is_wrong(api: Asking, path: str, detail: str) -> None:
    answer = api.get(path)

    assert (answer.status, answer.document["detail"]) == (400, detail)


def test_what_is_not_there_and_what_cannot_be_done_there_are_told_apart(api: Asking) -> None:
    nothing = api.get("/v2/clusters")
    wrong = api.ask("PUT", "/v1/clusters/shop")

    assert (nothing.status, nothing.document["detail"]) == (404, "/v2/clusters: not found")
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")


def test_head_is_get_without_a_body_and_options_names_the_methods(api: Asking) -> None:
    head = api.ask("HEAD", "/v1/clusters")
    options = api.ask("OPTIONS", "/v1/apply")

    assert (head.status, head.content) == (200, b"")
    assert head.headers["content-length"] == api.get("/v1/clusters").headers["content-length"]
    assert (options.status, options.headers["allow"]) == (204, "OPTIONS, POST")


@pytest.mark.parametrize("error", [StoreError("etcd: does not answer"), Fenced("cluster shop: not ours any more")])
def test_a_store_that_does_not_answer_is_told_to_come_back(api: Asking, site: Site, error: Exception) -> None:
    site.failure = error

    answer = api.get("/v1/clusters")

    assert (answer.status, answer.document["detail"], answer.headers["retry-after"]) == (503, str(error), "2")


def test_an_error_is_told_in_one_line_and_a_bug_is_not_told_at_all(api: Asking, site: Site) -> None:
    site.failure = Broken("the disk\nis full", hint="make room")
    error = api.get("/v1/clusters")
    site.failure = ZeroDivisionError("secret detail")
    bug = api.get("/v1/clusters")

    assert (error.status, error.document["detail"], error.document["hint"]) == (500, "the disk is full", "make room")
    assert bug.status == 500
    assert b"secret detail" not in bug.content
    assert bug.document["detail"] == "unexpected: the controller's log tells more"


def test_whether_it_lives_and_works_is_told_to_everybody(api: Asking, site: Site) -> None:
    anybody = api.to("")
    assert (anybody.get("/healthz").status, anybody.get("/healthz").content) == (200, b"ok\n")
    assert anybody.get("/readyz").document == {"ready": True, "reasons": []}

    site.alive, site.reasons = False, ("the store does not answer",)

    assert anybody.get("/healthz").status == 503
    ready = anybody.get("/readyz")
    assert (ready.status, ready.document["reasons"]) == (503, ["the store does not answer"])


def test_a_slow_store_keeps_nobody_from_hearing_that_the_controller_lives(api: Asking, site: Site) -> None:
    site.answers.clear()
    with api.at_once(40, "/v1/clusters") as waiting:
        assert api.get("/healthz").status == 200

        site.answers.set()
        assert {connection.getresponse().status for connection in waiting} == {200}


def test_more_than_can_wait_are_turned_away(api: Asking, site: Site) -> None:
    site.answers.clear()
    with api.at_once(100, "/v1/clusters") as waiting:
        turned_away = api.get("/v1/clusters")
        site.answers.set()
        statuses = [connection.getresponse().status for connection in waiting]

    assert (turned_away.status, turned_away.headers["retry-after"]) == (503, "2")
    assert (statuses.count(200), statuses.count(503)) == (80, 20)


def test_answers_are_kept_by_no_cache_and_name_no_server(api: Asking) -> None:
    answer = api.get("/v1/clusters")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_user_data_is_in_no_answer(api: Asking) -> None:
    for path in ("/v1/clusters", "/v1/clusters/shop", "/v1/clusters/shop/revisions", "/metrics", "/v1/events"):
        assert SECRET_DATA.encode() not in api.get(path).content
