"""Asking a controller that runs: what is shown and changed from elsewhere, by its API alone."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.cli.controlled import READER, WRITER, Controlled, controlled
from tests.cli.shell import Shell, db, eventually, web
from tests.cli.test_commands import complete


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    """A controller that knows of no files: all clusters are declared by its API."""
    with controlled(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def shop(site: Controlled) -> str:
    """The name of a cluster that is there for all tests of this module: three of `web`, two of `db`."""
    if "shop" not in [one["cluster"] for one in site.infra("status", "--json").json["clusters"]]:
        site.declare("shop", web=web(), db=db("db-1", "db-2"))
    return "shop"


def test_the_status_is_that_of_the_machines_there_with_what_is_in_force(site: Controlled, shop: str) -> None:
    out = site.infra("status", "--cluster", shop).out
    assert "Cluster shop: revision 1 of the API\n" in out
    assert " by ops; kept by c1; as of " in out
    assert "Group web: 3 of 3 ready, converged\n" in out
    header = next(line for line in out.splitlines() if line.startswith("  MACHINE"))
    columns = ["MACHINE", "CONDITION", "VERSION", "IMAGE", "ADDRESS", "PROVIDER", "AGE", "HEALTHY", "ID"]
    assert header.split() == columns
    assert [line.split()[0] for line in out.splitlines() if "  ready  " in line] == site.machines(shop)
    assert "CONTROLLER" in out
    assert f"c1          leads  {site.url}  " in out


def test_the_table_is_the_one_that_a_status_from_the_files_gives(site: Controlled, shop: str) -> None:
    def table(out: str) -> list[list[str]]:
        rows = [line.split() for line in out.splitlines() if line.startswith("  ") and " sim " in line]
        return sorted([*row[:6], row[8]] for row in rows)  # all but the ages

    declared = site.here.work / "shop.yml"
    assert table(site.here.infra("status", declared).out) == table(site.infra("status", "--cluster", shop).out) != []


def test_a_status_may_be_of_one_group(site: Controlled, shop: str) -> None:
    out = site.infra("status", "--cluster", shop, "-g", "db").out
    assert "Group db: 2 of 2 ready" in out
    assert "Group web" not in out
    (found,) = site.infra("status", "--cluster", shop, "-g", "db", "--json").json["clusters"]
    assert [group["group"] for group in found["groups"]] == ["db"]
    wrong = site.infra("status", "--cluster", shop, "-g", "dbx")
    assert (wrong.code, "no group 'dbx' in cluster shop" in wrong.err) == (64, True)


def test_an_unknown_cluster_is_answered_with_those_there_are(site: Controlled, shop: str) -> None:
    result = site.infra("status", "--cluster", "shpo")
    assert result.code == 64
    assert f"server {site.url} has no cluster 'shpo' (there are shop" in result.err


def test_a_status_is_watched_until_it_is_interrupted(site: Controlled, shop: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with site.started("status", "--cluster", shop, "--watch", out=out) as watching:
        eventually(lambda: out.read_text().count("Group web: 3 of 3 ready") >= 2, "it is shown again")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["status", "-f", "x.yml"], "--file and --server"),
        (["rollout", "pause", "x.yml"], "and --server"),
        (["status", "--watch", "--json"], "--watch is for people"),
        (["apply", "x.yml", "--parallelism", "3"], "--parallelism is for changes made from here"),
        (["apply", "x.yml", "--expected", "7"], "is not CLUSTER=N"),
        (["scale", "web=-1"], "is not GROUP=N"),
        (["events", "--since", "yesterday"], "neither the number of an event nor a duration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_means_nothing_with_a_server_is_refused(arguments: list[str], why: str, shell: Shell) -> None:
    result = shell.infra(*arguments, environment={"INFRAKIT_SERVER": "http://127.0.0.1:1"})
    assert result.code == 64
    assert why in result.err + result.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["status", "--watch"], "--watch is for --server only"),
        (["rollout", "undo", "--cluster", "shop"], "--cluster is for --server only"),
        (["apply", "--no-check"], "--no-check is for --server only"),
        (["wait"], "this asks a controller, and none is named"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_a_server_says_so(arguments: list[str], why: str, shell: Shell) -> None:
    result = shell.infra(*arguments)
    assert result.code == 64
    assert why in result.err


def test_no_server_is_one_line_and_a_hint(shell: Shell) -> None:
    result = shell.infra("status", "--server", "http://127.0.0.1:1")
    assert result.code == 1
    assert result.err == (
        "error: server http://127.0.0.1:1: nobody listens there\nhint: does the controller run, with its API open?\n"
    )
    told = shell.infra("status", "--server", "http://127.0.0.1:1", "--json").json["errors"][0]
    assert told["message"].endswith("nobody listens there")


def test_a_token_comes_by_the_environment_or_a_file_and_is_never_shown(site: Controlled, shop: str) -> None:
    del shop
    file = site.here.work / "token"
    file.write_text(f"{READER}\n")
    none = {"INFRAKIT_TOKEN": ""}
    assert site.infra("status", environment=none).code == 64
    assert "--token-file" in site.infra("status", environment=none).err
    assert site.infra("status", "--token-file", "token", environment=none).code == 0
    assert site.infra("status", "--token-file", "token", environment={"INFRAKIT_TOKEN": "wrong"}).code == 0
    wrong = site.infra("status", "--debug", environment={"INFRAKIT_TOKEN": "wrong-0123456789-secret"})
    assert wrong.code == 64
    assert "secret" not in wrong.out + wrong.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["scale", "web=4", "--cluster", "shop"],
        ["rollout", "pause", "--cluster", "shop"],
        ["withdraw", "shop", "--auto-approve"],
        ["apply", "shop.yml", "--no-check"],
    ],
    ids=" ".join,
)
def test_who_may_only_read_changes_nothing(arguments: list[str], site: Controlled, shop: str) -> None:
    before = site.standing(shop)["revision"]
    result = site.infra(*arguments, environment={"INFRAKIT_TOKEN": READER})
    assert result.code == 64
    assert READER not in result.err + result.out
    assert site.standing(shop)["revision"] == before


def test_scaling_says_before_and_after_and_is_done(site: Controlled) -> None:
    site.declare("grows", web=web(2))
    result = site.infra("scale", "web=4", "--cluster", "grows")
    assert (result.code, result.out) == (0, "grows/web: 2 → 4, revision 2\n")
    assert site.infra("wait", "--cluster", "grows", "--timeout", "60s").code == 0
    assert len(site.machines("grows")) == 4
    assert site.infra("scale", "web=4", "--cluster", "grows").out == "grows/web: 4 already, revision 2\n"


def test_several_groups_are_scaled_one_revision_after_the_other(site: Controlled) -> None:
    site.declare("wide", a=web(2), b=web(2))
    lines = site.infra("scale", "a=3", "b=4", "--cluster", "wide", "--json").json_lines
    assert [(line["group"], line["before"], line["size"], line["revision"]) for line in lines] == [
        ("a", 2, 3, 2),
        ("b", 2, 4, 3),
    ]


@pytest.mark.long
def test_losing_more_than_half_is_asked_for_first(site: Controlled) -> None:
    site.declare("shrinks", web=web(4))
    refused = site.infra("scale", "web=1", "--cluster", "shrinks")
    assert refused.code == 64
    assert "shrinks/web: 4 → 1" in refused.err
    assert "--auto-approve" in refused.err
    assert site.standing("shrinks")["revision"] == 1
    assert site.infra("scale", "web=2", "--cluster", "shrinks").code == 0
    assert site.infra("scale", "web=0", "--cluster", "shrinks", "--auto-approve").code == 0
    assert site.standing("shrinks")["revision"] == 3


def test_a_revision_that_is_not_in_force_any_more_stops_a_change(site: Controlled) -> None:
    site.declare("moves", web=web(2))
    assert site.infra("scale", "web=3", "--cluster", "moves").code == 0
    late = site.infra("scale", "web=4", "--cluster", "moves", "--expected", "1")
    assert late.code == 1
    assert "cluster moves" in late.err
    assert "decide anew" in late.err
    file = site.here.write(site.cluster("moves", web=web(5)), file="moves.yml")
    assert site.infra("apply", file, "--expected", "moves=1").code == 1
    assert site.standing("moves")["revision"] == 2
    assert site.infra("apply", file, "--expected", "moves=2").out == "moves: revision 3 is in force\n"


def test_a_group_that_is_not_there_cannot_be_scaled(site: Controlled, shop: str) -> None:
    result = site.infra("scale", "wbe=4", "--cluster", shop)
    assert result.code == 64
    assert "'wbe'" in result.err
    named = site.infra("scale", "db=4", "--cluster", shop)
    assert named.code == 64
    assert "logical_ids" in named.err


def test_a_change_needs_a_name_where_there_are_several_clusters(site: Controlled, shop: str) -> None:
    site.declare("second", web=web(1))
    for arguments in (["scale", "web=4"], ["rollout", "pause"]):
        result = site.infra(*arguments)
        assert result.code == 64
        assert "name one by --cluster" in result.err
        assert shop in result.err


def test_a_rollout_is_paused_resumed_and_undone_from_elsewhere(site: Controlled) -> None:
    site.declare("rolls", web=web(3))
    at = ("--cluster", "rolls")
    paused = site.infra("rollout", "pause", *at, "--reason", "the pager rang", "-g", "web")
    assert paused.out.splitlines() == [
        "rolls: web is paused (the pager rang)",
        "the controller acts on it when it looks at the group next",
    ]
    site.here.write(site.cluster("rolls", web=web(3, image="a2")), file="rolls.yml")
    assert site.infra("apply", "rolls.yml").code == 0

    def shown() -> str:
        return site.infra("rollout", "status", *at).out

    eventually(lambda: "  paused   the pager rang\n" in shown(), "the pause is shown")
    assert "Group web: paused" in shown()
    assert "infra rollout resume lets it go on" in shown()
    assert "web is resumed" in site.infra("rollout", "resume", *at).out
    assert site.infra("wait", *at, "--timeout", "60s").code == 0
    undone = site.infra("rollout", "undo", *at, "-g", "web", "--reason", "slow").out
    assert "rolls: web goes back from revision 2 to a1" in undone
    # The controller is told, and looks at the group a moment later: until then all is as it was declared.
    eventually(lambda: site.infra("wait", *at, "--timeout", "60s").code == 1, "the waiting ends with 1")
    result = site.infra("wait", *at, "--timeout", "60s")
    assert result.code == 1
    assert "rolls/web: rolled back to a1" in result.err
    assert "undone by a person: slow" in result.err


def test_the_history_and_the_rollouts_are_those_of_the_controller(site: Controlled, shop: str) -> None:
    out = site.infra("rollout", "history", "--cluster", shop, "-g", "web").out
    assert [line.split()[3] for line in out.splitlines()[2:]] == ["rolling", "good"]
    (found,) = site.infra("rollout", "history", "--cluster", shop, "-n", "1", "--json").json["clusters"]
    assert [entry["event"] for entry in found["entries"]] == ["good"]
    (standing,) = site.infra("rollout", "status", "--cluster", shop, "-g", "web", "--json").json["clusters"]
    assert [(group["group"], group["phase"]) for group in standing["groups"]] == [("web", "complete")]


def test_a_cluster_is_withdrawn_with_or_without_its_machines(site: Controlled) -> None:
    site.declare("leaves", web=web(2))
    asked = site.infra("withdraw", "leaves")
    assert (asked.code, "its machines stay (2 now)" in asked.out) == (64, True)
    assert site.infra("withdraw", "leaves", "--auto-approve").out.endswith("leaves: withdrawn\n")
    assert site.machines("leaves") == ["web-0", "web-1"]
    site.declare("leaves", web=web(2))
    told = site.infra("withdraw", "leaves", "--prune", "--auto-approve", "--json").json
    assert told == {"cluster": "leaves", "prune": True}
    eventually(lambda: site.machines("leaves") == [], "its machines go")
    unknown = site.infra("withdraw", "leavess", "--auto-approve")
    assert (unknown.code, "'leavess'" in unknown.err) == (64, True)


def test_events_are_listed_since_one_of_them_or_since_a_while(site: Controlled) -> None:
    site.declare("tells", web=web(1))
    told = site.infra("events", "--cluster", "tells", "--json").json_lines
    kinds = [event["event"] for event in told]
    assert kinds.index("declared") < kinds.index("created") < kinds.index("converged")
    assert {event["cluster"] for event in told} == {"tells"}
    after = site.infra("events", "--cluster", "tells", "--since", str(told[-2]["id"]), "--json").json_lines
    assert [event["id"] for event in after] == [told[-1]["id"]]
    assert len(site.infra("events", "--cluster", "tells", "--since", "1h").out.splitlines()) == len(told)
    assert site.infra("events", "--cluster", "tells", "--since", "1ms").out == ""
    line = site.infra("events", "--cluster", "tells").out.splitlines()[-1]
    assert line.split()[1:3] == ["tells/web", "converged"]


def test_events_are_followed_as_they_come(site: Controlled, tmp_path: Path) -> None:
    site.declare("streams", web=web(1))
    out = tmp_path / "out"
    with site.started("events", "--cluster", "streams", "--follow", out=out) as following:
        eventually(lambda: "converged" in out.read_text(), "what was is shown")
        assert site.infra("scale", "web=2", "--cluster", "streams").code == 0
        eventually(lambda: "web-1" in out.read_text(), "what comes is shown")
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130
    assert "Traceback" not in out.read_text()
    lines = out.read_text().splitlines()
    assert len(lines) == len(set(lines)), "no event is shown twice"


def test_the_events_of_this_machine_s_own_controller_need_no_server(site: Controlled, shop: str) -> None:
    told = site.there.infra("events", "--cluster", shop, "--json").json_lines
    assert [event["id"] for event in told] == [
        event["id"] for event in site.infra("events", "--cluster", shop, "--json").json_lines
    ]


def test_names_are_completed_by_asking_the_server(site: Controlled, shop: str) -> None:
    def offered(words: str) -> list[str]:
        asked = {"_INFRA_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        result = site.infra(environment=asked)
        assert result.err == ""
        return [line.split(",")[1] for line in result.out.splitlines() if line]

    assert shop in offered("infra status --cluster ")
    assert offered(f"infra status --cluster {shop} -g ") == ["db", "web"]
    assert offered(f"infra scale --cluster {shop} w") == ["web="]
    assert shop in offered("infra withdraw s")


def test_completion_of_a_server_that_is_not_there_is_empty(shell: Shell) -> None:
    assert complete(shell, "infra status --server http://127.0.0.1:1 --cluster ") == []
    assert complete(shell, "infra status --server nonsense -g ") == []


def test_a_server_is_trusted_by_the_authority_that_is_named(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with controlled(tmp_path / "site", certificate=certificate) as secured:
        assert secured.url.startswith("https://")
        strange = secured.infra("status")
        assert strange.code == 1
        assert "its certificate is not trusted" in strange.err
        assert secured.infra("status", "--ca", certificate).code == 0
        assert secured.infra("status", environment={"INFRAKIT_CA": str(certificate)}).code == 0


def test_the_token_is_in_no_output_and_no_file_here(site: Controlled, shop: str) -> None:
    for command in (
        ["status"],
        ["status", "--json"],
        ["sources"],
        ["events", "--since", "1h"],
        ["rollout", "status"],
    ):
        result = site.infra(*command)
        assert result.code == 0, result
        assert WRITER not in result.out + result.err
    assert shop
