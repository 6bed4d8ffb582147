"""Where the kernel and busybox come from: this machine if it has them, else Debian packages unpacked in a cache.

Nothing is ever installed. A downloaded package is unpacked once, in $XDG_CACHE_HOME/infrakit-py-tests, and appears
there complete or not at all, so that two test runs may start at once.
"""

import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL_PACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"
DOWNLOAD_TIMEOUT_SECONDS = 300


class ImageError(Exception):
    """A test image cannot be made; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A Debian cloud kernel and the tree of its modules."""

    release: str
    file: Path
    modules: Path


def find_kernel() -> Kernel:
    """Return the newest cloud kernel of this machine, else of the cache, else download one."""
    for root in (
        Path("/"),
        *sorted(cache_directory().glob("kernel-*"), key=lambda path: _version(path.name), reverse=True),
    ):
        if kernel := _kernel_below(root):
            return kernel
    package = _kernel_dependency()
    root = _unpacked(package, cache_directory() / f"kernel-{package.removeprefix('linux-image-')}")
    if kernel := _kernel_below(root):
        return kernel
    raise ImageError(
        f"package {package} was unpacked to {root} but holds no kernel with modules: remove that directory"
    )


def find_busybox() -> Path:
    """Return a statically linked busybox: this machine's, else the cache's, else download one."""
    if busybox := _busybox_below(Path("/")):
        return busybox
    root = cache_directory() / "busybox"
    if not root.exists():
        _unpacked(BUSYBOX_PACKAGE, root)
    if busybox := _busybox_below(root):
        return busybox
    raise ImageError(f"{root} holds no static busybox: remove that directory")


def unpacked_package(package: str) -> Path:
    """Return the tree of a package, as dpkg would install it: the cache's, else download one."""
    tree = cache_directory() / "packages" / package
    return tree if tree.exists() else _unpacked(package, tree)


def modules_in_load_order(kernel: Kernel, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return the wanted modules, each after those it depends on, by file name.

    The order is read from the modules themselves, so that no depmod need have run. A name that is no module is
    built into the kernel and left out.
    """
    files = {_module_name(path): path for path in sorted(kernel.modules.glob("kernel/**/*.ko*"))}
    ordered: dict[str, bytes] = {}

    def load(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or f"{_module_name(path)}.ko" in ordered:
            return
        content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for dependency in depends[1].decode().split(",") if depends else ():
            load(dependency)
        ordered[f"{_module_name(path)}.ko"] = content

    for name in wanted:
        load(name)
    return ordered


def cache_directory() -> Path:
    """Return where unpacked packages are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infrakit-py-tests"


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _module_name(path: Path) -> str:
    return path.name.split(".ko")[0].replace("-", "_")


def _kernel_below(root: Path) -> Kernel | None:
    found = sorted((root / "boot").glob("vmlinuz-*-cloud-amd64"), key=lambda path: _version(path.name))
    for file in reversed(found):
        release = file.name.removeprefix("vmlinuz-")
        for modules in (root / "lib/modules" / release, root / "usr/lib/modules" / release):
            if (modules / "kernel").is_dir():
                return Kernel(release, file, modules)
    return None


def _busybox_below(root: Path) -> Path | None:
    for file in (root / "bin/busybox", root / "usr/bin/busybox"):
        if file.is_file() and b"/lib64/ld-linux" not in file.read_bytes():
            return file
    return None


def _kernel_dependency() -> str:
    """Return the name of the versioned package that Debian's metapackage stands for now."""
    shown = _run(
        ["apt-cache", "show", "--no-all-versions", KERNEL_PACKAGE],
        f"find the package {KERNEL_PACKAGE}: run `apt-get update` first, on Debian",
    )
    if match := re.search(r"^Depends:.*?(linux-image-[0-9]\S*-cloud-amd64)", shown, re.MULTILINE):
        return match[1]
    raise ImageError(f"package {KERNEL_PACKAGE} depends on no linux-image-*-cloud-amd64 that could be downloaded")


def _unpacked(package: str, destination: Path) -> Path:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as scratch:
            # The sandbox user of apt could not write into our directory.
            fetch = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package]
            _run(fetch, f"download the package {package}: run `apt-get update`, check the network", Path(scratch))
            archive = next(Path(scratch).glob("*.deb"))
            tree = Path(scratch) / "tree"
            _run(["dpkg", "-x", str(archive), str(tree)], f"unpack {archive.name}")
            _publish(tree, destination)
    except OSError as exc:
        raise ImageError(f"cannot unpack the package {package} into {destination}: {exc}") from exc
    return destination


def _publish(tree: Path, destination: Path) -> None:
    try:
        tree.rename(destination)
    except OSError:
        if not destination.is_dir():
            raise
        shutil.rmtree(tree)  # another run was first; the same package gives the same tree


def _run(argv: Sequence[str], purpose: str, directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=directory, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as exc:
        raise ImageError(f"cannot {purpose}: {exc.stderr.strip() or exc.stdout.strip()}") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ImageError(f"cannot {purpose}: {exc}") from exc
    return done.stdout
