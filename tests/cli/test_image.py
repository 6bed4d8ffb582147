"""From a LinuxKit YAML to machines, by `infra plan`, `apply` and `infra image`, with a program that builds at once.

What a machine boots from such an image is the business of the tests on real machines.
"""

import base64
import os
import signal
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.cli.equipped import Equipped
from tests.cli.shell import INFRA, Result, Shell, cluster, eventually, web
from tests.cli.test_controller import Start, start
from tests.images_room.programs import Program, linuxkit

__all__ = ["start"]  # a fixture

YAML = """kernel: {image: "linuxkit/kernel:6.12.59"}
init: ["linuxkit/init:45a1ad5919f0b6acf0f0cf730e9434abfae11fe6"]
services:
  - {name: web, image: "nginx:1.27", env: ["PASSWORD=hunter2"]}
"""


@dataclass(frozen=True)
class Bench:
    """A terminal with a `linuxkit`, and a cluster whose image is built from a YAML."""

    shell: Shell
    program: Program

    def write(self, text: str = YAML, **entry: Any) -> None:
        self.shell.write(declared(**entry))
        (self.shell.work / "web.yml").write_text(text)

    def infra(self, *arguments: str | Path) -> Result:
        return self.shell.infra(*arguments)

    def apply(self) -> Result:
        result = self.infra("apply", "--auto-approve")
        assert result.code == 0, result
        return result

    def identity(self) -> str:
        (row,) = self.infra("image", "ls", "--json").json
        return str(row["identity"])


def declared(**entry: Any) -> dict[str, Any]:
    document = cluster(web=web(2, image="web"))
    document["images"] = {"web": {"linuxkit": "web.yml", **entry}}
    return document


@pytest.fixture
def bench(shell: Shell) -> Bench:
    made = Bench(Equipped(shell.root), linuxkit(shell.root / "bin"))
    made.write()
    return made


def test_one_build_one_publication_and_nothing_again_until_a_line_changes(bench: Bench) -> None:
    first = bench.apply()
    assert "image web: building" in first.err and first.out.count("published") == 1
    machines = bench.shell.machines()
    again = bench.apply()
    assert "building" not in again.err and "no changes" in again.out
    (bench.shell.work / "web.yml").write_text(f"# a comment\n{YAML}")
    assert "no changes" in bench.apply().out and bench.shell.machines() == machines
    bench.write(YAML.replace("1.27", "1.28"))
    changed = bench.apply()
    assert "services[web].image: nginx:1.27 → nginx:1.28" in changed.out
    assert changed.out.count(" published ") == 1
    assert not {m.id for m in bench.shell.machines()} & {m.id for m in machines}
    assert len(bench.program.builds) == 2


def test_a_plan_shows_both_identities_and_never_a_secret(bench: Bench) -> None:
    bench.apply()
    before = bench.identity()
    bench.write(YAML.replace("hunter2", "correct horse"))
    plan = bench.infra("plan")
    after = bench.identity()
    assert f"image web: {before[:12]} → {after[:12]}\n    services[web].env: PASSWORD changed" in plan.out
    assert "-2 replace" in plan.out
    for text in (plan.out, plan.err, bench.infra("image", "diff", "web").out, bench.infra("plan", "--json").out):
        assert "hunter2" not in text and "correct horse" not in text


def test_without_a_build_an_image_is_known_later_and_nothing_is_built(bench: Bench) -> None:
    plan = bench.infra("plan", "--no-build")
    assert plan.code == 0 and not bench.program.builds
    assert "image web: known after build" in plan.out and "2 × web (known after build)" in plan.out
    document = bench.infra("plan", "--no-build", "--json").json
    assert document["clusters"][0]["image_changes"] == [
        {"image": "web", "before": None, "identity": None, "known_after_build": True, "changes": []}
    ]
    bench.apply()
    before = bench.identity()
    bench.write(YAML.replace("1.27", "1.28"))
    again = bench.infra("plan", "--no-build")
    assert f"image web: {before[:12]} → known after build" in again.out
    assert "services[web].image: nginx:1.27 → nginx:1.28" in again.out
    assert len(bench.program.builds) == 1


def test_json_of_a_plan_stays_json_while_something_is_built(bench: Bench) -> None:
    result = bench.infra("plan", "--json")
    assert result.json["clusters"][0]["image_changes"] == [] and "image web: built" in result.err
    bench.write(YAML.replace("1.27", "1.28"))
    lines = bench.infra("apply", "--auto-approve", "--json").json_lines
    assert next(line["text"] for line in lines if line.get("event") == "building").startswith("building")


def test_what_is_not_pinned_is_warned_of(bench: Bench) -> None:
    warning = bench.infra("image", "build").err
    assert "not pinned, so another build may differ: linuxkit/kernel:6.12.59, nginx:1.27" in warning
    bench.write('kernel: {image: "linuxkit/kernel@sha256:' + "0" * 64 + '"}\n')
    assert "not pinned" not in bench.infra("image", "build").err


def test_without_linuxkit_an_error_says_how_to_get_it_and_nothing_is_touched(bench: Bench) -> None:
    bench.program.path.unlink()
    for command in (["plan"], ["apply", "--auto-approve"], ["image", "build"]):
        result = bench.infra(*command)
        assert result.code == 1 and "linuxkit is needed" in result.err, result
        assert "github.com/linuxkit/linuxkit/releases" in result.err
    assert bench.shell.machines() == []
    assert bench.infra("plan", "--no-build").code == 0
    assert bench.infra("status").code == 0 and bench.infra("destroy", "--auto-approve").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_build_with_all_that_it_began(bench: Bench, number: signal.Signals) -> None:
    linuxkit(bench.shell.root / "bin", body="time.sleep(60)")
    process = subprocess.Popen(
        [*INFRA, "plan"], cwd=bench.shell.work, env=bench.shell.environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as said:
        assert "building" in said.readline()
        eventually(lambda: bool(bench.program.builds), "the build has begun")
        process.send_signal(number)
        assert process.wait(20) == 130
    assert not list((bench.shell.root / "cache").glob(".scratch-*"))
    running = [name.read_bytes() for name in Path("/proc").glob("[0-9]*/cmdline") if name.exists()]
    assert not [one for one in running if os.fsencode(bench.program.path) in one]


def test_mistakes_in_the_yaml_are_shown_at_their_places_and_nothing_is_built(bench: Bench) -> None:
    bench.write(YAML.replace("services", "servics"))
    result = bench.infra("apply", "--auto-approve")
    assert result.code == 64
    assert "web.yml:3:1: unknown key 'servics'; did you mean 'services'?" in result.err
    assert not bench.program.builds


def test_images_are_listed_as_declared_as_built_and_as_published(bench: Bench) -> None:
    (row,) = bench.infra("image", "ls", "--json").json
    assert (row["built"], row["identity"], row["published"]) == (False, None, {"sim": False})
    bench.apply()
    (row,) = bench.infra("image", "ls", "--json").json
    assert (row["built"], row["published"]) == (True, {"sim": True})
    (built,) = bench.infra("image", "ls", "--cached", "--json").json
    assert (built["identity"], built["linuxkit"], built["there"]) == (row["identity"], "v1.6.1", True)
    assert row["identity"][:12] in bench.infra("image", "ls").out


def test_an_image_is_published_once_before_any_machine_needs_it(bench: Bench) -> None:
    assert "published" in bench.infra("image", "publish").out
    assert bench.shell.machines() == []
    assert "was there already" in bench.infra("image", "publish").out
    assert "publish" not in bench.infra("plan").out


def test_a_manifest_is_what_the_identity_is_the_digest_of(bench: Bench) -> None:
    manifest = bench.infra("image", "manifest", "web").out
    assert sha256(manifest.encode()).hexdigest() == bench.identity()


def test_an_image_is_signed_by_what_is_shown_and_an_unsigned_one_stops_everything(bench: Bench) -> None:
    bench.write(verify="key.pub")
    work = bench.shell.work
    private = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], check=True, capture_output=True
    ).stdout
    (work / "private").write_bytes(private)
    subprocess.run(["openssl", "pkey", "-pubout", "-in", "private", "-out", "key.pub"], cwd=work, check=True)
    refused = bench.infra("apply", "--auto-approve")
    assert refused.code == 1 and "web.yml.sig does not exist" in refused.err and bench.shell.machines() == []
    (work / "manifest").write_text(bench.infra("image", "manifest", "web").out)
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", "private", "manifest"], cwd=work, check=True, capture_output=True
    ).stdout
    (work / "web.yml.sig").write_bytes(base64.b64encode(signature))
    bench.apply()
    machines = bench.shell.machines()
    (work / "web.yml").write_text(YAML.replace("1.27", "1.28"))
    refused = bench.infra("apply", "--auto-approve")
    assert refused.code == 1 and "is no signature of this image" in refused.err
    assert bench.shell.machines() == machines
    assert bench.infra("status").code == 0  # who boots nothing is not hindered
    assert bench.infra("destroy", "--auto-approve").code == 0 and bench.shell.machines() == []


@pytest.mark.disks
def test_an_export_is_a_disk_that_holds_the_image(bench: Bench) -> None:
    result = bench.infra("image", "export", "web", "--format", "raw")
    assert result.code == 0, result
    assert (bench.shell.work / "web.raw").read_bytes()[510:512] == b"\x55\xaa"
    unknown = bench.infra("image", "export", "wbe", "--format", "raw")
    assert unknown.code == 64 and "no file declares an image 'wbe' (there are web)" in unknown.err


@pytest.mark.long
def test_two_builds_are_compared_by_their_identities(bench: Bench) -> None:
    assert bench.infra("image", "diff", "web").code == 64  # there is no build before
    bench.infra("image", "build")
    first = bench.identity()
    bench.write(YAML.replace("1.27", "1.28"))
    bench.infra("image", "build")
    expected = ["services[web].image: nginx:1.27 → nginx:1.28"]
    assert bench.infra("image", "diff", "web", "--json").json["changes"] == expected
    backwards = bench.infra(
        "image", "diff", "web", "--from", bench.identity()[:12], "--to", first[:12], "--json"
    ).json
    assert backwards["changes"] == ["services[web].image: nginx:1.28 → nginx:1.27"]
    assert bench.infra("image", "diff", "web", "--from", "0000").code == 64


@pytest.mark.long
def test_prune_keeps_what_a_kept_version_or_a_file_names(bench: Bench) -> None:
    bench.apply()
    running = bench.identity()
    bench.write(YAML.replace("1.27", "1.28"))
    bench.infra("image", "build")
    bench.write(YAML.replace("1.27", "1.29"))
    bench.infra("image", "build")
    shown = bench.infra("image", "prune", "--dry-run", "--json").json["cache"]
    declared_now = bench.identity()
    goes = {one["identity"] for one in shown if one["kind"] == "image"}
    assert len(goes) == 1 and not goes & {running, declared_now}
    refused = bench.infra("image", "prune")
    assert refused.code == 64 and "no terminal to ask on" in refused.err
    assert bench.infra("image", "prune", "--auto-approve").code == 0
    left = {path.name for path in (bench.shell.root / "cache/images").iterdir()}
    assert left == {running, declared_now}
    assert "nothing to delete" in bench.infra("image", "prune").out


@pytest.mark.disks
def test_a_rollback_boots_an_image_of_which_the_yaml_is_gone(bench: Bench) -> None:
    bench.apply()
    first = bench.identity()
    bench.write(YAML.replace("1.27", "1.28"))
    bench.apply()
    assert bench.infra("rollout", "undo", "--group", "web").code == 0
    bench.infra("apply", "--auto-approve")
    assert {m.tags["infrakit.image"] for m in bench.shell.machines()} == {first}


def test_a_controller_builds_what_changes_and_keeps_the_cluster_meanwhile(bench: Bench, start: Start) -> None:
    shell = bench.shell
    controller = start(shell)
    controller.says("converged")
    first = bench.identity()
    linuxkit(shell.root / "bin", body='print("FATA[0000] no such image", file=sys.stderr); sys.exit(1)')
    (shell.work / "web.yml").write_text(YAML.replace("1.27", "1.28"))
    controller.says("no such image")
    assert {m.tags["infrakit.image"] for m in shell.machines()} == {first}
    linuxkit(shell.root / "bin")
    (shell.work / "web.yml").write_text(YAML.replace("1.27", "1.29"))
    controller.says("image web: built")
    eventually(lambda: first not in {m.tags["infrakit.image"] for m in shell.machines()}, "all replaced")
    controller.says("converged", 2)
