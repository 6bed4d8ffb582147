"""Who asked for what, and what was done, as it is written down."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.api.audit import AuditLog
from infrakit_py.engine.events import EventKind
from infrakit_py.model.declared import Occurrence
from tests.api.asking import READER, WRITER, Asking
from tests.api.site import SECRET_DATA, SHOP, Broken, Site


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


def occurrence(kind: str = "destroyed", text: str = "web-1: outdated") -> Occurrence:
    return Occurrence(1_750_000_000.0, "shop", "web", kind, text, 7, "c1")


def test_what_was_changed_is_written_with_who_why_and_which_revision(api: Asking, tmp_path: Path) -> None:
    api.to(WRITER).post("/v1/clusters/shop/groups/web/scale", {"size": 5})
    api.to(WRITER).post("/v1/clusters/shop/rollout/pause", {"groups": ["web", "db"], "reason": "looking"})

    scaled, paused = lines(tmp_path)
    assert scaled.pop("at").endswith("+00:00")
    assert scaled == {
        "actor": "anna",
        "role": "write",
        "remote": "127.0.0.1",
        "action": "scale",
        "cluster": "shop",
        "group": "web",
        "revision": 2,
        "reason": "",
        "result": "done",
        "status": 200,
        "options": {"size": 5},
        "changes": [{"cluster": "shop", "group": "web", "revision": 2, "changed": True}],
    }
    assert (paused["action"], paused["cluster"], paused["group"], paused["reason"]) == (
        "pause",
        "shop",
        "web,db",
        "looking",
    )


def test_what_was_refused_is_written_too_and_why(api: Asking, site: Site, tmp_path: Path) -> None:
    writer = api.to(WRITER)
    api.to("").ask("DELETE", "/v1/clusters/shop")
    api.to(READER).ask("DELETE", "/v1/clusters/shop")
    writer.ask("DELETE", "/v1/clusters/nobody")
    writer.post("/v1/apply", {"files": {"a.yml": SHOP.replace("size: 3", "size: x")}, "main": ["a.yml"]})
    site.failure = Broken("no room")
    writer.post("/v1/clusters/shop/groups/web/scale", {"size": 5})
    site.failure = ZeroDivisionError("secret detail")
    writer.post("/v1/clusters/shop/groups/web/scale", {"size": 5})

    found = [(line["actor"], line["action"], line["status"], line["result"]) for line in lines(tmp_path)]
    assert found == [
        (None, "withdraw", 401, "refused"),
        ("grafana", "withdraw", 403, "refused"),
        ("anna", "withdraw", 404, "refused"),
        ("anna", "apply", 422, "refused"),
        ("anna", "scale", 500, "failed"),
        ("anna", "scale", 500, "failed"),
    ]
    assert [line["detail"] for line in lines(tmp_path)][2:5:2] == ["nobody declares a cluster 'nobody'", "no room"]


def test_what_was_chosen_is_written(api: Asking, tmp_path: Path) -> None:
    api.to(WRITER).ask("POST", "/v1/apply?dry_run=true", SHOP.encode(), {"Content-Type": "application/yaml"})
    api.to(WRITER).ask("DELETE", "/v1/clusters/shop?prune=true")

    assert [line["options"] for line in lines(tmp_path)] == [{"dry_run": True}, {"prune": True}]


def test_reading_is_not_written(api: Asking, tmp_path: Path) -> None:
    api.get("/v1/clusters")

    assert not (tmp_path / "audit.jsonl").exists()


def test_neither_tokens_nor_user_data_are_written(api: Asking, tmp_path: Path) -> None:
    api.to(WRITER).post("/v1/apply", {"files": {"a.yml": SHOP}, "main": ["a.yml"]})
    api.to("unknown-token-9876543210").ask("POST", "/v1/apply", SHOP.encode(), {"Content-Type": "application/yaml"})

    text = (tmp_path / "audit.jsonl").read_text()
    assert not [secret for secret in (WRITER, READER, "9876543210", SECRET_DATA) if secret in text]


def test_what_the_engine_does_is_written_and_what_it_sees_is_not(audit_log: AuditLog, tmp_path: Path) -> None:
    audit_log.action(occurrence())
    audit_log.action(occurrence(EventKind.FAILED.value, "web-2: no capacity"))
    audit_log.action(occurrence(EventKind.CREATING.value, "web-2: 2 of 3 wanted"))
    for kind in (EventKind.WAITING, EventKind.READY, EventKind.CONVERGED, EventKind.PUBLISHING):
        audit_log.action(occurrence(kind.value))

    done, failed, begun = lines(tmp_path)
    assert (failed["result"], begun["result"]) == ("failed", "begun")
    assert done == {
        "at": "2025-06-15T15:06:40.000+00:00",
        "actor": "c1",
        "role": None,
        "remote": None,
        "action": "destroyed",
        "cluster": "shop",
        "group": "web",
        "revision": 7,
        "reason": "web-1: outdated",
        "result": "done",
    }


def test_only_its_owner_reads_it(audit_log: AuditLog, tmp_path: Path) -> None:
    audit_log.action(occurrence())

    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("moved", [True, False], ids=["moved away", "deleted"])
def test_a_file_that_is_gone_is_made_anew(audit_log: AuditLog, tmp_path: Path, *, moved: bool) -> None:
    file = tmp_path / "audit.jsonl"
    audit_log.action(occurrence(text="one"))
    if moved:
        file.rename(tmp_path / "audit.jsonl.1")
    else:
        file.unlink()

    audit_log.action(occurrence(text="two"))

    assert [line["reason"] for line in lines(tmp_path)] == ["two"]


def test_what_cannot_be_written_is_said_once_and_keeps_nobody_from_anything(
    api: Asking, tmp_path: Path, complaints: list[str]
) -> None:
    file = tmp_path / "audit.jsonl"
    file.mkdir()
    for size in (5, 6):
        assert api.to(WRITER).post("/v1/clusters/shop/groups/web/scale", {"size": size}).status == 200
    assert complaints == [f"audit log {file}: cannot be written: Is a directory"]

    file.rmdir()
    api.to(WRITER).post("/v1/clusters/shop/groups/web/scale", {"size": 7})
    assert [line["revision"] for line in lines(tmp_path)] == [4]

    file.unlink()
    file.mkdir()
    api.to(WRITER).post("/v1/clusters/shop/groups/web/scale", {"size": 8})
    assert len(complaints) == 2


def test_a_link_in_its_place_is_not_followed(audit_log: AuditLog, tmp_path: Path, complaints: list[str]) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "audit.jsonl")

    audit_log.action(occurrence())

    assert not (tmp_path / "elsewhere").exists()
    assert len(complaints) == 1
