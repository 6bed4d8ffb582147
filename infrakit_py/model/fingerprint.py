"""The hash of all that forces a replacement. Versioned, so that a later recipe never replaces a fleet by itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from infrakit_py.model.spec import ClusterSpec, Json

VERSION: Final = 1


def canonical(value: Json) -> str:
    """Write a value as the one JSON text that all equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Json) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def fingerprint(*, image_identity: str, machine: Mapping[str, Json], flavor: Mapping[str, Json]) -> str:
    """Return `v1-` and 40 hex digits.

    `machine` holds the properties as written: defaults are left out, so that a release with another
    default replaces nothing. `flavor` is what the flavor calls its material: the template and the group's
    values, never a member's own.
    """
    material: Json = {"image": image_identity, "machine": machine, "flavor": flavor}
    return f"v{VERSION}-{digest(material)[:40]}"


def spec_digest(spec: ClusterSpec) -> str:
    """Return the sha256 (hex) of all that a spec declares, wherever its files lie."""
    plain = asdict(spec)
    del plain["source"]
    for image in plain["images"].values():
        # the identity stands for all of these
        del image["files"], image["cmdline"], image["architecture"], image["recipe"]
        for detail in ("as_disk", "disk_size"):
            if not image[detail]:
                del image[detail]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
