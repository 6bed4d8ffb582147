"""Whether what is waited for has come, or will not: judged by one look at a controller."""

from dataclasses import replace

import pytest

from infrakit_py.cli.outlook import Goal, Outlook, is_at_rest, is_commit, outlook
from infrakit_py.render.documents import GroupDocument, ProgressDocument, VersionDocument, WaitDocument
from infrakit_py.render.server_documents import ClusterDocument, RefusalDocument, SourceDocument

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
GOOD = GroupDocument("web", converged=True, wanted=3, ready=3, phase="complete", declared_revision=7)
SHOP = ClusterDocument("shop", revision=7, converged=True, phase="converged", groups=(GOOD,))
GIT = SourceDocument("ops.git", "git", in_force=SHA, at="2026-01-01T00:00:00+00:00")
FILES = SourceDocument("clusters", "files", at="2026-01-01T00:00:00+00:00")


def judged(goal: Goal, *clusters: ClusterDocument, sources: tuple[SourceDocument, ...] = (GIT,)) -> Outlook:
    return outlook(goal, {cluster.cluster: cluster for cluster in clusters}, sources)


def with_group(**changes: object) -> ClusterDocument:
    group = replace(GOOD, **changes)  # type: ignore[arg-type]
    return replace(SHOP, converged=group.converged, groups=(group,))


@pytest.mark.parametrize(
    "goal", [Goal(), Goal(commit=SHA), Goal(revisions={"shop": 7}), Goal(cluster="shop")], ids=str
)
def test_it_has_come_once_all_is_in_force_and_at_rest(goal: Goal) -> None:
    assert judged(goal, SHOP).has_come


@pytest.mark.parametrize(
    ("source", "wait"),
    [
        (replace(GIT, in_progress=OTHER), f"{OTHER[:12]} is in progress"),
        (replace(GIT, in_force=""), "nothing of it is in force yet"),
        (replace(GIT, in_force="", complaint="no route"), "nothing of it is in force yet; no route"),
        (replace(FILES, at=None), "nothing of it is in force yet"),
        (replace(FILES, in_progress="x"), "x is in progress"),
    ],
)
def test_what_sources_declare_has_to_be_in_force(source: SourceDocument, wait: str) -> None:
    assert judged(Goal(), SHOP, sources=(source,)).waits == {source.name: wait}


def test_what_the_api_has_declared_waits_for_no_source() -> None:
    assert judged(Goal(revisions={"shop": 7}), SHOP, sources=(replace(GIT, in_force=""),)).has_come


def test_a_commit_has_to_be_in_force_itself() -> None:
    found = judged(Goal(commit=SHA), SHOP, sources=(replace(GIT, in_force=OTHER), FILES))
    assert found.waits == {"ops.git": f"{OTHER[:12]} is in force, not {SHA[:12]}"}


def test_a_refused_change_is_told_with_its_mistakes() -> None:
    refused = replace(GIT, in_force=OTHER, refusal=RefusalDocument("", "a.yml:1:1: x\na.yml:2:2: y", SHA))
    for goal in (Goal(), Goal(commit=SHA)):
        assert judged(goal, SHOP, sources=(refused,)).mistakes == ("a.yml:1:1: x", "a.yml:2:2: y")
    assert judged(Goal(commit=OTHER), SHOP, sources=(refused,)).has_come, "it is another one that was refused"


@pytest.mark.parametrize(
    ("version", "commit", "same"),
    [
        (SHA, SHA, True),
        (SHA, SHA[:7], True),
        (SHA[:12], SHA, True),
        (SHA, SHA[:6], False),
        (SHA, OTHER, False),
        ("", SHA, False),
        (None, SHA, False),
        (SHA, "", False),
    ],
)
def test_a_commit_may_be_named_by_its_beginning(version: str | None, commit: str, same: bool) -> None:
    assert is_commit(version, commit) is same


def test_a_revision_that_came_later_takes_the_place() -> None:
    found = judged(Goal(revisions={"shop": 6}), SHOP)
    assert found.troubles["shop"].reason == "revision 7 has taken the place of 6"
    assert judged(Goal(revisions={"shop": 8}), SHOP).waits == {"shop": "revision 7 is in force, not yet 8"}
    assert judged(Goal(revisions={"shop": 8})).troubles["shop"].reason == "nobody declares it any more"


def test_what_is_known_of_an_earlier_revision_says_nothing() -> None:
    stale = with_group(declared_revision=6, block="something was wrong")
    found = judged(Goal(), stale)
    assert not found.troubles
    assert found.waits == {"shop/web": "it is not known yet how it stands as of revision 7"}


@pytest.mark.parametrize(
    ("cluster", "rests"),
    [(SHOP, True), (with_group(declared_revision=6), False), (replace(SHOP, converged=False), False)],
    ids=["at rest", "as of an earlier revision", "at work"],
)
def test_a_cluster_is_at_rest_by_a_look_at_the_revision_in_force(cluster: ClusterDocument, rests: bool) -> None:
    assert is_at_rest(cluster) is rests


def test_a_cluster_of_which_nothing_is_known_yet_is_waited_for() -> None:
    assert judged(Goal(), replace(SHOP, converged=False, groups=())).waits == {
        "shop": "not all of it has been looked at yet"
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"block": "would shrink from 3 to 1"}, "would shrink from 3 to 1"),
        (
            {"phase": "rolled back", "goes_to": VersionDocument(6, "a1", "c0ffee"), "because": "revision 7 is bad"},
            "rolled back to a1 (c0ffee), revision 6, because revision 7 is bad",
        ),
        (
            {"progress": ProgressDocument("stopped", reason="1 new machine failed")},
            "the rollout is stopped: 1 new machine failed",
        ),
    ],
    ids=["blocked", "rolled back", "stopped"],
)
def test_what_needs_a_person_is_trouble_that_must_last_a_little(changes: dict[str, object], reason: str) -> None:
    trouble = judged(Goal(), with_group(converged=False, hint="do this", **changes)).troubles["shop/web"]
    assert (trouble.reason, trouble.hint) == (reason, "do this")
    assert 0 < trouble.seconds <= 10


def test_failing_is_trouble_if_it_lasts() -> None:
    trouble = judged(Goal(), replace(SHOP, converged=False, phase="failed")).troubles["shop"]
    assert trouble.seconds >= 30


def test_work_is_waited_for_with_its_reasons() -> None:
    waits = (WaitDocument("web-0 starting"), WaitDocument("web-1 starting"))
    assert judged(Goal(), with_group(converged=False, waits=waits)).waits == {
        "shop/web": "web-0 starting; web-1 starting"
    }
    assert judged(Goal(), with_group(converged=False, ready=1)).waits == {"shop/web": "1 of 3 ready"}


def test_a_withdrawn_cluster_is_waited_for_only_while_its_machines_go() -> None:
    left = replace(SHOP, withdrawn=True, converged=False)
    assert judged(Goal(), left).has_come
    assert judged(Goal(), replace(left, prune=True)).waits == {"shop": "its machines are destroyed"}


def test_a_goal_concerns_what_it_names() -> None:
    assert [Goal(revisions={"a": 1}).concerns(name) for name in "ab"] == [True, False]
    assert [Goal(cluster="a").concerns(name) for name in "ab"] == [True, False]
    assert Goal().concerns("a")
