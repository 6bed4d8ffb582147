"""What YAML becomes a spec, and where it is looked for."""

import io
import json
import sys
from pathlib import Path
from typing import get_args

import pytest

from infrakit_py.errors import SpecError
from infrakit_py.images import read_image
from infrakit_py.loading import load
from infrakit_py.loading.documents import ClusterDocument
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import (
    API_VERSION,
    FlavorSpec,
    GroupSpec,
    HealthCheck,
    Image,
    ImageForm,
    ProviderSpec,
    RolloutSpec,
)
from tests.loading.documents import cluster, group, loaded, loaded_group
from tests.loading.stubs import StubCatalog

WHOLE = """\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {name: shop}
providers:
  local: {plugin: libvirt, uri: "qemu:///system"}
images:
  web-v1: {kernel: build/kernel, initrd: build/initrd, cmdline: build/cmdline}
  disk-v1: {disk: build/web.qcow2}
  old: {reference: some-name}
groups:
  web:
    provider: local
    image: web-v1
    size: 3
    machine: {vcpus: 1, memory: 192MiB}
    flavor: {kind: vanilla, user_data: "hello {{ instance.name }}", tags: {tier: web}}
    health: {tcp: 8080, interval: 2s, timeout: 500ms, healthy_after: 2, unhealthy_after: 4, grace: 1h30m}
    rollout: {max_surge: 25%, max_unavailable: 1, drain_timeout: 10s, progress_deadline: 5m}
    depends_on: [db]
    prevent_destroy: true
  db:
    provider: local
    image: disk-v1
    logical_ids: [db-1, db-2]
    machine: {data-disk: 1GiB}
"""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "build").mkdir()
    for part in ("kernel", "initrd", "cmdline", "web.qcow2"):
        (tmp_path / "build" / part).write_text(f"{part}\n")
    return tmp_path


def test_a_whole_document_becomes_a_spec(built: Path) -> None:
    spec = loaded(built, WHOLE)
    assert (spec.name, spec.source) == ("shop", str(built / "cluster.yml"))
    assert spec.providers == {"local": ProviderSpec("local", "libvirt", {"uri": "qemu:///system"})}
    assert spec.groups["web"] == GroupSpec(
        name="web",
        provider="local",
        image="web-v1",
        size=3,
        machine={"vcpus": 1, "memory": "192MiB"},
        flavor=FlavorSpec("vanilla", {"tier": "web"}, {"user_data": {"template": "hello {{ instance.name }}"}}),
        health=HealthCheck(
            tcp=8080,
            interval_seconds=2,
            timeout_seconds=0.5,
            healthy_after=2,
            unhealthy_after=4,
            grace_seconds=5400,
        ),
        rollout=RolloutSpec(
            max_surge=Amount(25, percent=True),
            max_unavailable=Amount(1),
            drain_timeout_seconds=10,
            progress_deadline_seconds=300,
        ),
        depends_on=("db",),
        prevent_destroy=True,
    )
    assert spec.groups["db"] == GroupSpec(
        name="db", provider="local", image="disk-v1", logical_ids=("db-1", "db-2"), machine={"data-disk": "1GiB"}
    )


def test_images_are_read_from_beside_the_yaml_file(built: Path) -> None:
    spec = loaded(built, WHOLE)
    assert spec.images["web-v1"].files["initrd"].path == str(built / "build" / "initrd")
    assert spec.images["disk-v1"].disk_format == "qcow2"
    assert spec.images["old"] == Image("old", spec.images["old"].identity, ImageForm.REFERENCE, reference="some-name")


def test_defaults_are_left_out_of_what_plugins_get(tmp_path: Path) -> None:
    web = loaded_group(tmp_path, "size: 1")
    assert (web.machine, web.flavor.options) == ({}, {})


def test_what_is_not_written_has_the_model_s_own_defaults(tmp_path: Path) -> None:
    web = loaded_group(tmp_path, "size: 1")
    assert web == GroupSpec("web", "local", "web-v1", size=1)


def test_the_api_version_is_the_model_s() -> None:
    assert get_args(ClusterDocument.model_fields["apiVersion"].annotation) == (API_VERSION,)


def test_trap_6_size_zero_is_accepted_and_minus_one_refused(tmp_path: Path) -> None:
    assert loaded_group(tmp_path, "size: 0").count == 0
    with pytest.raises(SpecError, match="must be at least 0"):
        loaded_group(tmp_path, "size: -1")


@pytest.mark.parametrize("rollout", ["max_surge: 25%", "max_surge: 0, max_unavailable: 25%"])
def test_trap_6_percentages_of_size_zero_are_no_mistake(tmp_path: Path, rollout: str) -> None:
    assert loaded_group(tmp_path, f"size: 0, rollout: {{{rollout}}}").count == 0


def test_trap_22_percentages_are_refused_with_the_integers_they_come_to(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="max_surge 0 and max_unavailable 24% come to 0 and 0 of 4 machines"):
        loaded_group(tmp_path, "size: 4, rollout: {max_surge: 0, max_unavailable: 24%}")
    assert loaded_group(tmp_path, "size: 4, rollout: {max_surge: 0, max_unavailable: 25%}").count == 4


def test_trap_5_nothing_is_returned_while_anything_is_wrong(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(cluster("good"))
    bad.write_text(cluster("bad") + "spare: 1\n")
    with pytest.raises(SpecError, match=r"bad\.yml:9:1: unknown key 'spare'"):
        load([good, bad], StubCatalog(), {}, read_image)


def test_a_directory_stands_for_the_yaml_files_right_in_it(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", ".hidden.yml", "c.json"):
        (tmp_path / name).write_text(cluster(name[0]))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.yml").write_text("not read")
    (tmp_path / "directory.yml").mkdir()
    assert [spec.name for spec in load([tmp_path], StubCatalog(), {}, read_image)] == ["a", "b"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(cluster())
    paths = [tmp_path, tmp_path / "a.yml", tmp_path / "." / "a.yml"]
    assert len(load(paths, StubCatalog(), {}, read_image)) == 1


def test_a_file_holds_several_documents_and_empty_ones_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "all.yml"
    file.write_text(f"# nothing\n---\n{cluster('a')}---\n---\n{cluster('b')}---\nnull\n")
    assert [spec.name for spec in load([file], StubCatalog(), {}, read_image)] == ["a", "b"]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cluster().encode())))
    (spec,) = load([Path("-")], StubCatalog(), {}, read_image)
    assert (spec.name, spec.source) == ("shop", "<stdin>")


def test_one_name_in_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text(cluster())
    with pytest.raises(SpecError) as raised:
        load([tmp_path], StubCatalog(), {}, read_image)
    assert str(raised.value) == (
        f"{tmp_path}/b.yml:3:18: metadata.name: cluster 'shop' is already declared at {tmp_path}/a.yml:3:18"
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], "declares no cluster"),
        (["nothing.yml"], "nothing.yml: cannot be read: No such file or directory"),
        (["empty"], "empty: no *.yml or *.yaml in it"),
        (["x" * 300], "cannot be read: File name too long"),
    ],
    ids=["nothing named", "no such file", "empty directory", "name too long"],
)
def test_paths_without_a_cluster_are_refused(tmp_path: Path, named: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError) as raised:
        load([tmp_path / name for name in named], StubCatalog(), {}, read_image)
    assert message in str(raised.value)


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(SpecError, match="larger than 4 MiB"):
        load([Path("/dev/zero")], StubCatalog(), {}, read_image)


@pytest.mark.parametrize(
    ("written", "size"),
    [("${env:SIZE}", 5), ("${env:NONE:-3}", 3), ("${env:EMPTY:-4}", 4)],
    ids=["set", "default", "empty"],
)
def test_an_unquoted_variable_has_the_type_of_its_text(tmp_path: Path, written: str, size: int) -> None:
    text = (
        group("prevent_destroy: true").replace("web: {", "web: &web {")
        + f"  db:\n    <<: *web\n    size: {written}\n"
    )
    text = text.replace("prevent_destroy: true", "size: 1")
    assert loaded(tmp_path, text, {"SIZE": "5", "EMPTY": ""}).groups["db"].size == size


def test_a_quoted_variable_is_text(tmp_path: Path) -> None:
    web = loaded_group(tmp_path, 'size: 1, flavor: {tags: {a: "${env:SIZE}", b: "$${env:SIZE}"}}', {"SIZE": "5"})
    assert web.flavor.tags == {"a": "5", "b": "${env:SIZE}"}


def test_a_variable_cannot_add_yaml(tmp_path: Path) -> None:
    injected = "a\n    prevent_destroy: true"
    web = loaded_group(tmp_path, 'size: 1, flavor: {tags: {a: "${env:EVIL}"}}', {"EVIL": injected})
    assert (web.flavor.tags, web.prevent_destroy) == ({"a": injected}, False)


def test_a_variable_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="NAME is not UTF-8 text"):
        loaded_group(
            tmp_path,
            'size: 1, flavor: {tags: {a: "${env:NAME}"}}',
            {"NAME": b"\xff".decode(errors="surrogateescape")},
        )


def test_own_keys_win_over_merged_ones_and_earlier_sources_over_later(tmp_path: Path) -> None:
    text = """\
  web: &web {provider: local, image: web-v1, size: 1, machine: {vcpus: 1}}
  db: &db {<<: *web, size: 2, machine: {vcpus: 2}}
  cache:
    size: 3
    <<: [*db, *web]
"""
    groups = loaded(
        tmp_path, group("size: 1").replace("  web: {provider: local, image: web-v1, size: 1}\n", text)
    ).groups
    assert {name: (group.size, group.machine["vcpus"]) for name, group in groups.items()} == {
        "web": (1, 1),
        "db": (2, 2),
        "cache": (3, 2),
    }


def test_a_machine_is_kept_as_written_and_not_as_its_model_reads_it(tmp_path: Path) -> None:
    web = loaded_group(tmp_path, "size: 1, machine: {memory: 192MiB, nics: [{network: a}]}")
    assert json.loads(json.dumps(web.machine)) == {"memory": "192MiB", "nics": [{"network": "a"}]}
