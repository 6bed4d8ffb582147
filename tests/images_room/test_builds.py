"""Building images: once, by content, checked, explained where it fails, and never half."""

import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest

from infrakit_py.clock import SystemClock
from infrakit_py.images import ImageError
from infrakit_py.images.builds import SBOM, Builds
from infrakit_py.images.cache import Cache
from infrakit_py.images.identity import manifest
from infrakit_py.images.linuxkit import BuildError
from infrakit_py.loading import is_as_read
from infrakit_py.loading.linuxkit_document import read_linuxkit
from infrakit_py.model.recipes import recipe_key, unbuilt_identity
from infrakit_py.model.spec import Image, ImageForm, Recipe, Signed
from tests.images_room.programs import Program, linuxkit
from tests.images_room.test_signatures import signed_by_openssl

YAML = """kernel: {image: "linuxkit/kernel:6.12.59"}
services:
  - {name: web, image: "nginx:1.27"}
files:
  - {path: etc/web.conf, source: web.conf}
"""


class Bench:
    """A recipe, a program to build it with, and a cache to keep it in."""

    def __init__(self, directory: Path, **program: Any) -> None:
        self.directory = directory
        self.program: Program = linuxkit(directory / "bin", **program)
        self.write(YAML)
        (directory / "recipes/web.conf").write_text("listen 80\n")
        self.environment = {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "HOME": str(directory)}
        self.said: list[str] = []

    def write(self, text: str) -> None:
        file = self.directory / "recipes/web.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def image(self, name: str = "web", **recipe: Any) -> Image:
        """Return the image as it is declared now, as loading returns it."""
        document = read_linuxkit(self.directory / "recipes/web.yml")
        arguments = recipe.get("build_args", ())
        key = recipe_key(
            document.data,
            sources={source.name: source.sha256 for source in document.sources},
            architecture="amd64",
            build_args=arguments,
        )
        made = Recipe(document.file, key, content=document.data, unpinned=document.unpinned, **recipe)
        return Image(name, unbuilt_identity(key), ImageForm.KERNEL, recipe=made)

    def builds(self, **changes: Any) -> Builds:
        return Builds(Cache(self.directory / "cache"), self.environment, SystemClock(), is_as_read, **changes)

    def tell(self, image: str, text: str, *, milestone: bool = False) -> None:
        self.said.append(f"{image}: {text}")

    def build(self, **recipe: Any) -> Image:
        return self.builds().build(self.image(**recipe), self.tell)

    def scratch(self) -> list[Path]:
        return list((self.directory / "cache").glob(".scratch-*"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_image_is_what_was_built_and_lies_in_the_cache_by_its_content(bench: Bench) -> None:
    built = bench.build()
    assert built.is_built and built.cmdline == "console=ttyS0"
    directory = bench.directory / "cache/images" / built.identity
    assert {part: Path(file.path).parent for part, file in built.files.items()} == dict.fromkeys(
        ("kernel", "initrd", "cmdline"), directory
    )
    assert b"listen 80" in Path(built.files["initrd"].path).read_bytes()  # it was run beside its YAML
    (call,) = bench.program.builds
    assert "--no-sbom --format kernel+initrd" in call and call.endswith("--arch amd64 ./web.yml")
    assert bench.scratch() == []
    assert bench.said[0].startswith("web: building") and bench.said[-1].startswith(f"web: built {built.short}")


def test_what_was_built_is_found_and_not_built_again(bench: Bench) -> None:
    assert not bench.builds().found(bench.image()).is_built
    built = bench.build()
    assert bench.build() == built == bench.builds().found(bench.image())
    assert len(bench.program.builds) == 1


@pytest.mark.parametrize("change", ["comment", "layout"])
def test_a_comment_or_another_layout_builds_nothing(bench: Bench, change: str) -> None:
    built = bench.build()
    bench.write("# hello\n" + YAML if change == "comment" else YAML.replace(": {image", ":\n  {image"))
    assert bench.build().identity == built.identity
    assert len(bench.program.builds) == 1


@pytest.mark.parametrize("change", ["yaml", "source", "arguments", "version"])
def test_whatever_goes_into_a_build_makes_it_another_build(bench: Bench, change: str) -> None:
    bench.build()
    match change:
        case "yaml":
            bench.write(YAML.replace("1.27", "1.28"))
        case "source":
            (bench.directory / "recipes/web.conf").write_text("listen 81\n")
        case "version":
            linuxkit(bench.directory / "bin", version="v1.7.0")
    bench.build(**({"build_args": ("--docker",)} if change == "arguments" else {}))
    assert len(bench.program.builds) == 2


def test_a_recipe_that_changed_and_gives_the_same_bytes_is_the_same_image(bench: Bench) -> None:
    built = bench.build()
    again = bench.build(build_args=("--docker",))
    assert len(bench.program.builds) == 2
    assert again.identity == built.identity and again.files == built.files


def test_what_was_changed_while_it_was_built_is_not_taken_for_what_was_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, body='pathlib.Path("web.conf").write_text("edited\\n")')
    with pytest.raises(BuildError, match="was changed while it was built"):
        bench.build()
    assert list(bench.builds().all()) == []


def test_a_list_of_parts_that_is_asked_for_later_is_made_then(bench: Bench) -> None:
    bench.build()
    built = bench.build(sbom=True)
    assert (bench.directory / "cache/images" / built.identity / SBOM).exists()


def test_a_kernel_may_do_without_a_command_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    script = bench.program.path.read_text()
    bench.program.path.write_text(script.replace('"console=ttyS0")', '"")'))
    assert bench.build().cmdline == ""


def test_two_at_once_of_one_recipe_are_one_build(tmp_path: Path) -> None:
    bench = Bench(tmp_path, body="time.sleep(0.5)")
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: bench.build(), range(4)))
    assert len({image.identity for image in built}) == 1
    assert len(bench.program.builds) == 1


def test_it_is_built_again_on_request_and_when_its_files_are_gone(bench: Bench) -> None:
    built = bench.build()
    bench.builds().build(bench.image(), bench.tell, again=True)
    Path(built.files["kernel"].path).unlink()
    assert not bench.builds().found(bench.image()).is_built
    assert bench.build() == built
    assert len(bench.program.builds) == 3 and Path(built.files["kernel"].path).exists()


def test_building_again_repairs_an_image_that_was_damaged_in_the_cache(bench: Bench) -> None:
    built = bench.build()
    kernel = Path(built.files["kernel"].path)
    content = kernel.read_bytes()
    kernel.write_bytes(content[::-1])
    assert bench.builds().build(bench.image(), bench.tell, again=True) == built
    assert kernel.read_bytes() == content


def test_without_linuxkit_what_any_version_built_counts(bench: Bench) -> None:
    built = bench.build()
    bench.program.path.unlink()
    assert bench.build() == built
    bench.write(YAML.replace("1.27", "1.28"))
    with pytest.raises(BuildError, match="linuxkit is needed, and not on the PATH") as refused:
        bench.build()
    assert refused.value.hint is not None and "INFRAKIT_LINUXKIT" in refused.value.hint


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('print("FATA[0000] cannot pull nginx:1.27", file=sys.stderr); sys.exit(1)', "cannot pull nginx:1.27"),
        ("sys.exit(3)", "Extract kernel image"),
        ('(out / f"{name}-initrd.img").touch(); (out / f"{name}-kernel").touch(); sys.exit()', "is empty"),
        ("sys.exit()", "does not exist"),
        ("os.kill(os.getpid(), 9)", "could not build"),
    ],
    ids=["says why", "says little", "empty files", "no files", "killed"],
)
def test_a_build_that_fails_is_explained_and_leaves_nothing(tmp_path: Path, body: str, message: str) -> None:
    bench = Bench(tmp_path, body=body)
    with pytest.raises((BuildError, ImageError), match=message):
        bench.build()
    assert bench.scratch() == [] and not (tmp_path / "cache/images").exists()
    log = bench.builds().log(bench.image().recipe or Recipe("", ""))
    assert "Extract kernel image" in log.read_text()
    linuxkit(tmp_path / "bin")
    assert bench.build().is_built


def test_a_build_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "survivor"
    child = f"import time; time.sleep(2); open({str(marker)!r}, 'w')"
    body = f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    bench = Bench(tmp_path, body=body)
    began = time.monotonic()
    with pytest.raises(BuildError, match="was not ready after 500ms") as refused:
        bench.build(time_limit_seconds=0.5)
    assert refused.value.hint is not None and "build_timeout" in refused.value.hint
    assert time.monotonic() - began < 30
    time.sleep(2.5)
    assert not marker.exists()


def test_a_build_ends_when_it_is_not_wanted_any_more(tmp_path: Path) -> None:
    bench, stop = Bench(tmp_path, body="time.sleep(60)"), Flag()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(bench.builds(stop=stop).build, bench.image(), bench.tell)
        while not bench.said:
            time.sleep(0.05)
        stop.set()
        with pytest.raises(BuildError, match="was stopped"):
            future.result(timeout=30)


def test_a_build_that_was_killed_half_way_leaves_nothing_that_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, body='(out / f"{name}-kernel").write_bytes(b"half"); time.sleep(1.5)')
    script = (
        "import sys; from pathlib import Path; from tests.images_room.test_builds import Bench\n"
        "bench = Bench.__new__(Bench); bench.__dict__.update(directory=Path(sys.argv[1]), said=[],"
        " environment={'PATH': sys.argv[2], 'HOME': '/'})\n"
        "bench.build()"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), bench.environment["PATH"]])
    while not bench.program.builds:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not bench.builds().found(bench.image()).is_built
    assert bench.build().is_built


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ({"version": "v1.0.1"}, r"is linuxkit v1\.0\.1; at least v1\.2 is needed"),
        ({"says": "hello"}, "does not say its version"),
    ],
    ids=["too old", "something else"],
)
def test_a_linuxkit_that_cannot_be_used_is_refused(tmp_path: Path, program: dict[str, str], message: str) -> None:
    bench = Bench(tmp_path, **program)
    assert not bench.builds().found(bench.image()).is_built  # who builds nothing is not hindered
    with pytest.raises(BuildError, match=message):
        bench.build()


def test_the_linuxkit_that_is_named_is_called(bench: Bench) -> None:
    other = linuxkit(bench.directory / "other")
    bench.environment["INFRAKIT_LINUXKIT"] = str(other.path)
    bench.build()
    assert len(other.builds) == 1 and not bench.program.builds
    bench.environment["INFRAKIT_LINUXKIT"] = str(bench.directory / "none")
    bench.write(YAML.replace("1.27", "1.28"))
    with pytest.raises(BuildError, match="which is no program"):
        bench.build()


def test_a_list_of_parts_is_kept_beside_the_image_and_changes_nothing_of_it(bench: Bench) -> None:
    plain = bench.build()
    built = bench.builds().build(bench.image(sbom=True), bench.tell, again=True)
    assert built.identity == plain.identity
    beside = bench.directory / "cache/images" / built.identity / SBOM
    assert beside.read_text() == '{"spdxVersion": 1}'
    assert "--format tar" in bench.program.builds[-1] and "--no-sbom" not in bench.program.builds[-1]


def test_a_missing_list_of_parts_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, parts="")
    with pytest.raises(BuildError, match="gave no list of parts"):
        bench.build(sbom=True)


def test_an_image_that_must_be_signed_counts_only_if_it_is(bench: Bench) -> None:
    built = bench.build()
    signed = signed_by_openssl(built, bench.directory, "ecdsa", text=manifest(built))
    assert bench.build(signed=signed).identity == built.identity
    with pytest.raises(ImageError, match="does not exist"):
        bench.build(signed=Signed(signed.key, str(bench.directory / "no.sig")))
    bench.write(YAML.replace("1.27", "1.28"))
    with pytest.raises(ImageError, match="is no signature of this image"):
        bench.build(signed=signed)
    with pytest.raises(ImageError, match="is no signature of this image"):
        bench.builds().found(bench.image(signed=signed))


def test_what_is_remembered_of_a_build_is_its_owners_alone(bench: Bench) -> None:
    bench.build()
    (record,) = (bench.directory / "cache/builds").iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600  # the YAML may hold secrets


def test_a_damaged_record_is_as_good_as_none(bench: Bench) -> None:
    built = bench.build()
    (record,) = (bench.directory / "cache/builds").iterdir()
    for text in ("", "[]", '{"key": 1}', "{"):
        record.write_text(text)
        assert not bench.builds().found(bench.image()).is_built
    assert bench.build().identity == built.identity


def test_one_recipe_by_two_names_is_built_once(bench: Bench) -> None:
    one = bench.build()
    other = bench.builds().build(bench.image("shop"), bench.tell)
    assert other == replace(one, name="shop", recipe=other.recipe) and len(bench.program.builds) == 1
