"""Programs that are called as `linuxkit` is, and do as little as a test needs.

They know the arguments and file names of the real one; what a machine boots is the business of other tests.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """#!{python}
import os, pathlib, sys, time, uuid

HERE = pathlib.Path({here!r})
arguments = sys.argv[1:]
with (HERE / "calls").open("a") as calls:
    calls.write(" ".join(arguments) + "\\n")
if arguments == ["version"]:
    print({said!r})
    print("commit: 3bf33c3a1f8e7a1b5f3d1a4bb0d5f9c7e6a2d110")
    sys.exit()
values = dict(zip(arguments, arguments[1:]))
out, name, yaml = pathlib.Path(values["--dir"]), values["--name"], pathlib.Path(arguments[-1])
print("Extract kernel image: linuxkit/kernel", file=sys.stderr, flush=True)
{body}
sources = sorted(pathlib.Path().glob("*.conf"))
content = yaml.read_bytes().split(b"#")[0].strip() + b"".join(path.read_bytes() for path in sources)
if values["--format"] == "tar":
    import io, tarfile
    with tarfile.open(out / f"{{name}}.tar", "w") as tar:
        for member, held in (("boot/kernel", b"kernel"), {parts}):
            entry = tarfile.TarInfo(member)
            entry.size = len(held)
            tar.addfile(entry, io.BytesIO(held))
    sys.exit()
held = content if "--no-sbom" in arguments else content + uuid.uuid4().bytes
(out / f"{{name}}-kernel").write_bytes(b"kernel of " + values["--arch"].encode())
(out / f"{{name}}-initrd.img").write_bytes(held)
(out / f"{{name}}-cmdline").write_text("console=ttyS0")
"""


@dataclass(frozen=True, slots=True)
class Program:
    """An executable, and what it was called with."""

    path: Path

    @property
    def builds(self) -> Sequence[str]:
        """The arguments of each build that was begun."""
        calls = self.path.parent / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line != "version"]


def linuxkit(
    directory: Path,
    *,
    version: str = "v1.6.1",
    body: str = "",
    says: str = "",
    parts: str = '("sbom.spdx.json", b"{\\"spdxVersion\\": 1}")',
) -> Program:
    """Write a program that builds at once; `body` is what it does before it writes anything."""
    directory.mkdir(parents=True, exist_ok=True)
    program = Program(directory / "linuxkit")
    script = _SCRIPT.format(
        python=sys.executable,
        here=str(directory),
        said=says or f"linuxkit version {version}",
        body=body,
        parts=parts,
    )
    program.path.write_text(script)
    program.path.chmod(0o755)
    return program
