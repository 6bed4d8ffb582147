"""The command line: `linuxkit version` and `linuxkit build`, with LinuxKit's words, log and exit codes."""

import gzip
import io
import json
import os
import shlex
import sys
import tarfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.images.cpio import MODIFIED_AT
from tests.images.debian import ImageError, find_kernel
from tests.linuxkit import catalogue
from tests.linuxkit.arguments import CommandError, Options, read_options
from tests.linuxkit.assembly import Assembly
from tests.linuxkit.document import Document, read_documents, render

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STREAMED = "tar"


def main(arguments: Sequence[str]) -> int:
    if log := os.environ.get("STANDIN_LOG"):
        with open(log, "a") as file:
            file.write(shlex.join(arguments) + "\n")
    try:
        match arguments:
            case ["version", *_]:
                print(f"linuxkit version {os.environ.get('STANDIN_VERSION', 'v1.6.1')}\ncommit: {COMMIT}")
            case ["build", *rest]:
                _build(read_options(rest))
            case [command, *_]:
                raise CommandError(f'unknown command "{command}" for "linuxkit"')
            case _:
                raise CommandError("no command")
    except (CommandError, ImageError) as exc:
        print(f"Error: {exc}", file=sys.stderr)
        return 1
    return 0


def _build(options: Options) -> None:
    document = read_documents([_text(file) for file in options.files])
    if "dry-run" in options.switches:
        print(render(document))
        return
    time.sleep(float(os.environ.get("STANDIN_SLEEP", "0")))
    failure = os.environ.get("STANDIN_FAIL")
    if failure == "pull":
        raise catalogue.missing(document.get("kernel", {}).get("image", "linuxkit/kernel:none"))
    name = options.name or Path(options.files[-1]).stem
    parts = {} if "no-sbom" in options.switches else {options.sbom: _parts_list(document)}
    if options.formats == (STREAMED,):
        out = Path(options.output or Path(options.directory, f"{name}.{STREAMED}"))
        out.write_bytes(b"" if failure == "format" else _archive(document, parts))
        _fail_if(failure)
        return
    if options.formats != ("kernel+initrd",):
        raise CommandError(f"error writing outputs: {options.formats[0]}: docker is not to be had here")
    _write_kernel_and_initrd(document, parts, Path(options.directory, name), failure)


def _write_kernel_and_initrd(document: Document, parts: dict[str, bytes], prefix: Path, failure: str | None) -> None:
    initrd = gzip.compress(Assembly(document, _say).root(parts).content(), compresslevel=6, mtime=0)
    _say("Create outputs:")
    _say(f"  {prefix}-kernel {prefix}-initrd.img {prefix}-cmdline")
    try:
        Path(f"{prefix}-kernel").write_bytes(find_kernel().file.read_bytes())
        Path(f"{prefix}-initrd.img").write_bytes(b"" if failure == "format" else initrd)
        _fail_if(failure)
        Path(f"{prefix}-cmdline").write_text(document["kernel"].get("cmdline", ""))
    except OSError as exc:
        raise CommandError(f"error writing outputs: open {exc.filename}: {exc.strerror}") from exc


def _fail_if(failure: str | None) -> None:
    if failure == "format":
        raise CommandError("error writing outputs: exit status 1")


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, ValueError) as exc:
        raise CommandError(f"cannot open config file: open {file}: {getattr(exc, 'strerror', exc)}") from exc


def _archive(document: Document, parts: dict[str, bytes]) -> bytes:
    """Return a tar of what is special about the image: all that is read from one here is its list of parts."""
    Assembly(document, _say).root(parts)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in {"etc/linuxkit.yml": render(document).encode(), **parts}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), MODIFIED_AT
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def _parts_list(document: Document) -> bytes:
    """Return SPDX with, as LinuxKit's, another namespace each time: no image that holds it is reproducible."""
    containers = [item["image"] for part in ("onboot", "services") for item in document.get(part, [])]
    references = [document.get("kernel", {}).get("image", ""), *document.get("init", []), *containers]
    packages = [{"name": catalogue.repository(r), "SPDXID": f"SPDXRef-{n}"} for n, r in enumerate(references)]
    namespace = f"https://github.com/linuxkit/linuxkit/{uuid.uuid4()}"
    return json.dumps({"spdxVersion": "SPDX-2.3", "documentNamespace": namespace, "packages": packages}).encode()


def _say(line: str) -> None:
    """Write a line of the log as LinuxKit's own formatter does: an INFO is the message alone."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
