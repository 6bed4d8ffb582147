"""The root file system of an image: what the YAML says, laid out as LinuxKit lays it out. Same YAML, same bytes."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.images.cpio import CpioArchive
from tests.images.linuxkit_shaped import GUEST as TINY_GUEST
from tests.images.linuxkit_shaped import VIRTIO_MODULES, add_base
from tests.linuxkit import catalogue
from tests.linuxkit.arguments import CommandError
from tests.linuxkit.document import CONTAINERS, Document, render

APPLETS = (
    "chmod", "fdisk", "findfs", "httpd", "kill", "sysctl", "touch", "true", "wget",
)  # fmt: skip
SUMMARY = "etc/linuxkit-shaped.json"
_TITLES = {"onboot": "onboot", "onshutdown": "shutdown", "services": "service"}

Say = Callable[[str], None]


class Assembly:
    """One image in the making."""

    def __init__(self, document: Document, say: Say) -> None:
        self._document = document
        self._say = say
        self._archive = CpioArchive()
        self._files: dict[str, tuple[bytes, int]] = {}
        """Programs and scripts, so that what two components share is there once."""

    def root(self, more: Mapping[str, bytes]) -> CpioArchive:
        """Return the whole file system, with more files on top. CommandError for what cannot be had."""
        kernel = self._document.get("kernel", {}).get("image", "")
        self._say(f"Extract kernel image: {catalogue.full_name(kernel)}")
        catalogue.require(kernel, ("kernel",))
        add_base(self._archive, APPLETS, VIRTIO_MODULES)
        self._add_init()
        for part in CONTAINERS:
            self._add_containers(part)
        for path, (content, permissions) in sorted(self._files.items()):
            self._archive.file(path, content, permissions=permissions)
        self._add_files()
        for path, content in more.items():
            self._archive.file(path, content)
        return self._archive

    def _add_init(self) -> None:
        self._say("Add init containers:")
        for reference in self._document.get("init", []):
            self._say(f"Process init image: {catalogue.full_name(reference)}")
            catalogue.require(reference, catalogue.INIT)
        for path, name in (("init", "init"), ("bin/bind", "bind"), ("etc/acpi/PWRF/00000080", "power-button")):
            self._script(path, catalogue.GUEST / name)
        self._script("etc/udhcpc.script", TINY_GUEST / "udhcpc.script")
        self._files[SUMMARY] = (_summary(self._document), 0o644)

    def _add_containers(self, part: str) -> None:
        containers = self._document.get(part, [])
        if containers:
            self._say(f"Add {_TITLES[part]} containers:")
        for number, container in enumerate(containers):
            component = catalogue.find(container["image"])
            if component is None:
                self._say(f"  Leave out {container['image']}: a test machine does without")
                continue
            self._say(f"  Create OCI config for {container['image']}")
            name = container["name"] if part == "services" else f"{number:03}-{container['name']}"
            self._files[f"containers/{part}/{name}/run"] = (_run(container, component), 0o755)
            for path, script in component.scripts.items():
                self._script(path, catalogue.GUEST / script)
            self._files.update({path: (content, 0o755) for path, content in component.programs().items()})

    def _script(self, path: str, file: Path) -> None:
        self._files[path] = (file.read_bytes(), 0o755)

    def _add_files(self) -> None:
        if self._document.get("files"):
            self._say("Add files:")
        for file in self._document.get("files", []):
            self._say(f"  {file['path']}")
            self._add_file(file)

    def _add_file(self, file: Mapping[str, Any]) -> None:
        path = file["path"].lstrip("/")
        if any(file.get(key) not in (None, 0, "0", "root") for key in ("uid", "gid")):
            raise CommandError(f"error building files: {path}: all files are root's here")
        if file.get("symlink"):
            self._archive.link(path, file["symlink"])
            return
        mode = int(file.get("mode") or ("0700" if file.get("directory") else "0600"), 8)
        # Whoever may do something with the file may enter its directory, as in LinuxKit.
        around = mode | (mode & 0o700 and 0o100) | (mode & 0o070 and 0o010) | (mode & 0o007 and 0o001)
        self._archive.directory(path if file.get("directory") else str(Path(path).parent), permissions=around)
        if file.get("directory"):
            return
        content = _content(file, self._document)
        if content is not None:
            self._archive.file(path, content, permissions=mode)


def _content(file: Mapping[str, Any], document: Document) -> bytes | None:
    """Return what a file holds; None for an optional one that is not there."""
    if "contents" in file:
        return str(file["contents"]).encode()
    if (kind := file.get("metadata")) is not None:
        text = render(document) if kind == "yaml" else json.dumps(document, sort_keys=True)
        return text.encode()
    if not file.get("source"):
        raise CommandError(f"error building files: Contents of file {file['path']} not specified")
    try:
        return Path(file["source"]).expanduser().read_bytes()
    except OSError as exc:
        if file.get("optional"):
            return None
        raise CommandError(f"error building files: open {file['source']}: {exc.strerror}") from exc


def _summary(document: Document) -> bytes:
    """Name everything that the image is made from: other references and settings give another image."""
    parts = {key: document[key] for key in ("kernel", "init", *CONTAINERS) if key in document}
    return json.dumps(parts, sort_keys=True, indent=1).encode() + b"\n"


def _run(container: Mapping[str, Any], component: catalogue.Component) -> bytes:
    """Return the script that runs a container's command, with its binds, variables and directory."""
    lines = ["#!/bin/sh"]
    runtime = container.get("runtime") or {}
    lines += [f"mkdir -p {shlex.quote(path)}" for path in runtime.get("mkdir", [])]
    for bind in (*container.get("binds", []), *container.get("binds.add", [])):
        lines.append(f"bind {_words(bind.split(':'))} || exit 1")
    lines += [f"export {shlex.quote(variable)}" for variable in container.get("env", [])]
    directory = shlex.quote(container.get("cwd") or component.directory)
    lines.append(f"mkdir -p {directory} && cd {directory} || exit 1")
    lines.append(f"exec {_words(container.get('command') or component.command)}")
    return "".join(f"{line}\n" for line in lines).encode()


def _words(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))
