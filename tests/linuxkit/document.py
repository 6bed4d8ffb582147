"""LinuxKit's YAML as far as the stand-in needs it: merged, and refused as LinuxKit refuses it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tests.linuxkit.arguments import CommandError

CONTAINERS = ("onboot", "onshutdown", "services")
_KEYS = ("kernel", "init", "volumes", *CONTAINERS, "files", "trust")
_KERNEL_KEYS = ("image", "cmdline", "binary", "tar", "ucode")
_FILE_KEYS = ("path", "directory", "symlink", "contents", "source", "metadata", "optional", "mode", "uid", "gid")
_CONTAINER_KEYS = (
    "name", "image", "capabilities", "capabilities.add", "ambient", "mounts", "binds", "binds.add", "devices",
    "tmpfs", "command", "env", "cwd", "net", "pid", "ipc", "uts", "userns", "hostname", "readonly", "maskedPaths",
    "readonlyPaths", "uid", "gid", "additionalGids", "noNewPrivileges", "oomScoreAdj", "rootfsPropagation",
    "cgroupsPath", "resources", "sysctl", "rlimits", "uidMappings", "gidMappings", "annotations", "runtime",
)  # fmt: skip

Document = Mapping[str, Any]


def read_documents(texts: Sequence[str]) -> Document:
    """Return the files as one. Lists are joined and the last kernel counts, as in LinuxKit's AppendConfig."""
    merged: dict[str, Any] = {}
    for text in texts:
        for key, value in _read(text).items():
            merged[key] = merged.get(key, []) + value if isinstance(value, list) else value
    names = [item["name"] for item in merged.get("services", [])]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise CommandError(f"invalid config: duplicate service name: {doubled}")
    return merged


def render(document: Document) -> str:
    """Return the YAML that `--dry-run` prints: the same for the same content."""
    return yaml.safe_dump(dict(document), sort_keys=True)


def _read(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise CommandError(f"invalid config: yaml: {' '.join(str(exc).split())}") from exc
    faults = list(_faults(document))
    if faults:
        print("The configuration file is invalid:")
        for fault in faults:
            print(f"- {fault}")
        raise CommandError("invalid config: invalid configuration file")
    return dict(document)


def _faults(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "(root): Invalid type. Expected: object"
        return
    yield from _unknown("(root)", document, _KEYS)
    if "kernel" in document:
        yield from _parts("kernel", [document["kernel"]], _KERNEL_KEYS, ("image",))
    for part in CONTAINERS:
        yield from _parts(part, document.get(part, []), _CONTAINER_KEYS, ("name", "image"))
    yield from _parts("files", document.get("files", []), _FILE_KEYS, ("path",))
    for index, item in enumerate(document.get("init", [])):
        if not isinstance(item, str):
            yield f"init.{index}: Invalid type. Expected: string"


def _parts(name: str, items: Any, known: Sequence[str], needed: Sequence[str]) -> Iterator[str]:
    if not isinstance(items, list):
        yield f"{name}: Invalid type. Expected: array"
        return
    for index, item in enumerate(items):
        place = name if name == "kernel" else f"{name}.{index}"
        if not isinstance(item, dict):
            yield f"{place}: Invalid type. Expected: object"
            continue
        yield from (f"{place}: {key} is required" for key in needed if key not in item)
        yield from _unknown(place, item, known)
        for key in ("path", "contents", "source", "mode", "image", "name"):
            if key in item and not isinstance(item[key], str):
                yield f"{place}.{key}: Invalid type. Expected: string"


def _unknown(place: str, item: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    yield from (f"{place}: Additional property {key} is not allowed" for key in item if key not in known)
