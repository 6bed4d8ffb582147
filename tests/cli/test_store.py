"""`infra store`: what is remembered goes from one store to another whole, or nothing of it does."""

import json
import shutil
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.stores.etcd import open_etcd
from infrakit_py.stores.looking import read_only
from infrakit_py.stores.transfer import Exported
from tests.cli.forked import start
from tests.cli.shell import Shell, cluster, eventually, web
from tests.etcd.servers import Servers, etcd
from tests.stores.test_transfer import in_order

__all__ = ["etcd"]

SECRET = "hunter2-marker"


def exported(shell: Shell, *options: str) -> Any:
    """Return the document that an export writes to standard output."""
    result = shell.infra("store", "export", *options)
    assert result.code == 0, result
    return result.json


def remembered(shell: Shell, name: str = "shop") -> Exported:
    return read_only(shell.state, name).dump(name)


def test_what_was_exported_and_lost_is_remembered_again(converged: Shell) -> None:
    assert converged.infra("rollout", "pause", "--group", "web", "--reason", "freeze").code == 0
    before, ids = remembered(converged), converged.ids()
    result = converged.infra("store", "export", "-o", "backup.json")
    assert result.code == 0, result
    assert "exported shop: nothing declared, 1 revision, 2 versions, 6 intents\n" in result.out
    assert stat.S_IMODE((converged.work / "backup.json").stat().st_mode) == 0o600
    shutil.rmtree(converged.state)
    result = converged.infra("store", "import", "backup.json")
    assert (result.code, result.out) == (0, "imported shop: nothing declared, 1 revision, 2 versions, 6 intents\n")
    assert remembered(converged) == before
    assert "freeze" in converged.infra("rollout", "history").out
    assert converged.infra("apply", "--auto-approve").code == 0
    assert converged.ids() == ids


def test_a_second_import_is_refused_without_replace(converged: Shell) -> None:
    assert converged.infra("store", "export", "-o", "backup.json").code == 0
    before = remembered(converged)
    result = converged.infra("store", "import", "backup.json")
    assert result.code == 64
    assert "cluster shop is in the store already" in result.err
    assert "--replace" in result.err
    assert converged.infra("store", "import", "backup.json", "--replace").code == 0
    assert remembered(converged) == before


def test_standard_output_holds_the_document_and_standard_error_the_warning(converged: Shell) -> None:
    result = converged.infra("store", "export")
    assert [*result.json["clusters"]] == ["shop"]
    assert "holds secrets" in result.err
    assert "events" not in result.json
    assert exported(converged, "--events")["events"] == []


def test_a_document_goes_through_a_pipe(converged: Shell) -> None:
    text = converged.infra("store", "export", "-o", "-").out
    before = remembered(converged)
    shutil.rmtree(converged.state)
    assert converged.infra("store", "import", "-", stdin=text).code == 0
    assert remembered(converged) == before


def test_one_cluster_is_exported_alone(converged: Shell) -> None:
    converged.write(cluster("other", web=web(1)), file="other.yml")
    assert converged.infra("apply", "--auto-approve", "other.yml").code == 0
    assert [*exported(converged)["clusters"]] == ["other", "shop"]
    assert [*exported(converged, "--cluster", "other")["clusters"]] == ["other"]
    result = converged.infra("store", "export", "--cluster", "nobody")
    assert result.code == 64
    assert "'nobody' (there are other, shop)" in result.err


def test_programs_are_told_what_was_done(converged: Shell) -> None:
    line = {"cluster": "shop", "in_force": None, "revisions": 1, "versions": 2, "intents": 6}
    (done,) = converged.infra("store", "export", "-o", "backup.json", "--json").json["clusters"]
    assert done == {**done, **line, "left_out": 0}
    shutil.rmtree(converged.state)
    result = converged.infra("store", "import", "backup.json", "--json").json
    (done,) = result["clusters"]
    assert done == {**done, **line}
    assert (result["sources"], result["events"]) == ([], 0)
    assert converged.infra("store", "export", "--json").code == 64
    (error,) = converged.infra("store", "import", "backup.json", "--json").json["errors"]
    assert "already" in error["message"]


def test_an_export_of_nothing_is_a_document_of_nothing(shell: Shell) -> None:
    assert shell.infra("store", "export", "-o", "backup.json").code == 0
    result = shell.infra("store", "import", "backup.json")
    assert (result.code, result.out) == (0, "backup.json holds no cluster; nothing to import\n")


def test_an_export_takes_the_place_of_an_older_one_and_closes_it_to_others(converged: Shell) -> None:
    older = converged.work / "backup.json"
    older.write_text("older")
    older.chmod(0o644)
    assert converged.infra("store", "export", "-o", "backup.json").code == 0
    assert json.loads(older.read_text())["format"] == 1
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
    assert [path.name for path in converged.work.iterdir() if path.name.startswith(".back")] == []


def test_a_pipe_is_written_to_and_stays_one(converged: Shell) -> None:
    assert converged.infra("store", "export", "-o", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()


def test_a_place_that_cannot_be_written_to_is_said(converged: Shell) -> None:
    result = converged.infra("store", "export", "-o", "nowhere/backup.json")
    assert result.code == 1
    assert "nowhere" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"kind": \n x', "backup.json:2:2: no JSON"),
        (b"\xff\xfe", "backup.json: no UTF-8 at byte 0"),
        (b"{}", "backup.json: nothing that `infra store export` wrote"),
    ],
    ids=["broken", "binary", "other"],
)
def test_a_file_that_is_no_export_is_refused_with_its_place(shell: Shell, content: bytes, told: str) -> None:
    (shell.work / "backup.json").write_bytes(content)
    result = shell.infra("store", "import", "backup.json")
    assert result.code == 64
    assert told in result.err
    assert "nothing was touched" in result.err
    assert not shell.state.exists()


def test_a_wrong_value_is_told_by_its_path_and_not_quoted(converged: Shell) -> None:
    document = exported(converged)
    document["clusters"]["shop"]["versions"][1]["version"]["group"]["size"] = SECRET
    (converged.work / "backup.json").write_text(json.dumps(document))
    before = remembered(converged)
    result = converged.infra("store", "import", "backup.json", "--replace", "--debug")
    assert result.code == 64
    assert "backup.json: clusters.shop.versions[1].version.group.size: " in result.err
    assert SECRET not in str(result)
    assert remembered(converged) == before


def test_a_missing_file_is_said(shell: Shell) -> None:
    result = shell.infra("store", "import", "backup.json")
    assert result.code == 64
    assert "backup.json" in result.err


def test_a_cluster_that_is_being_changed_is_not_replaced_and_can_be_exported(shell: Shell) -> None:
    shell.write(cluster(web=web(1), provider={"boot_time": "30s"}))
    process = shell.start("apply", "--auto-approve")
    try:
        eventually(lambda: len(shell.machines()) == 1, "the apply creates its machine")
        assert shell.infra("store", "export", "-o", "backup.json").code == 0
        result = shell.infra("store", "import", "backup.json", "--replace")
        assert result.code == 1
        assert f"cluster shop is being changed by another process (pid {process.pid})" in result.err
    finally:
        process.kill()
        process.communicate()


def test_secrets_are_in_the_document_and_in_nothing_else(shell: Shell) -> None:
    shell.write(cluster(web=web(1, flavor={"kind": "vanilla", "user_data": SECRET})))
    assert shell.infra("apply", "--auto-approve").code == 0
    results = [
        shell.infra("store", "export", "-o", "backup.json", "--debug"),
        shell.infra("store", "export", "-o", "backup.json", "--json"),
        shell.infra("store", "import", "backup.json", "--debug"),
        shell.infra("store", "import", "backup.json", "--replace", "--debug"),
        shell.infra("store", "import", "backup.json", "--replace", "--json"),
    ]
    assert [result.code for result in results] == [0, 0, 64, 0, 0]
    assert not any(SECRET in str(result) for result in results)
    assert SECRET in (shell.work / "backup.json").read_text()


def test_a_reader_that_goes_away_ends_the_export_quietly(converged: Shell) -> None:
    process = converged.start("store", "export")
    assert process.stdout is not None
    process.stdout.close()
    _, errors = subprocess.Popen.communicate(process)
    assert "Traceback" not in errors


def test_an_import_that_is_killed_leaves_a_store_that_can_be_imported_to(converged: Shell, tmp_path: Path) -> None:
    assert converged.infra("store", "export", "-o", "backup.json").code == 0
    before = remembered(converged)
    for life_seconds in (0.01, 0.03, 0.05, 0.1, 0.2):
        process = start(
            ["store", "import", "backup.json", "--replace"],
            directory=converged.work,
            environment=converged.environment(),
            output=tmp_path / "output",
        )
        process.join(life_seconds)
        process.kill()
        process.join()
        assert remembered(converged) == before
    assert converged.infra("store", "import", "backup.json", "--replace").code == 0


def test_a_cluster_goes_to_the_store_of_several_controllers_and_back(converged: Shell, etcd: Servers) -> None:
    address = etcd.address(ttl_seconds=5.0)
    config = f"store: {{etcd: {{endpoints: [{etcd.urls[0]}], prefix: {address.prefix}, ttl: 5s}}}}\n"
    head = "apiVersion: infrakit-py/v1alpha1\nkind: Controller\nsources: {files: [.]}\n"
    (converged.work / "controller.yml").write_text(head + config)
    before = remembered(converged)
    assert converged.infra("store", "export", "-o", "backup.json").code == 0
    result = converged.infra("store", "import", "backup.json", "--config", "controller.yml")
    assert result.code == 0, result
    assert converged.infra("store", "import", "backup.json", "--config", "controller.yml").code == 64
    back = converged.infra("store", "export", "-o", "back.json", "--config", "controller.yml")
    assert back.code == 0, back
    shutil.rmtree(converged.state)
    assert converged.infra("store", "import", "back.json").code == 0
    assert in_order(remembered(converged)) == in_order(before)
    store, claims = open_etcd(address, "another")
    with closing(store):
        assert (claims.members(), claims.owners()) == ({}, {}), "whoever imports is gone afterwards"
