"""What is known for certain of families of machine types. Of a family that it does not know it says nothing.

As of 2025, from the Compute Engine documentation: "Machine families resource and comparison guide", "Live migration
process during maintenance events", "Confidential VM supported configurations", "About Persistent Disk", "About
Hyperdisk" and "GPU machine types".
"""

import re
from typing import Final

_SHARED_CORE: Final = frozenset({"f1", "g1"})
_INTEL: Final = frozenset(
    "n1 n2 n4 c2 c3 c4 m1 m2 m3 m4 x4 z3 h3 a2 a3 a4 g2".split()  # noqa: SIM905  # reads as the documentation's list
)
_AMD: Final = frozenset("n2d n4d t2d c2d c3d c4d h4d g4".split())  # noqa: SIM905  # likewise
_ARM: Final = frozenset("t2a c4a n4a a4x".split())  # noqa: SIM905  # likewise
_NEVER_CONFIDENTIAL: Final = _SHARED_CORE | {"e2", "n1", "t2d"} | _ARM
_HYPERDISKS_ONLY: Final = frozenset("c4 c4a c4d n4 n4a n4d m4 x4 h4d a4 a4x g4".split())  # noqa: SIM905  # likewise
_WITH_ACCELERATORS: Final = frozenset("a2 a3 a4 a4x g2 g4".split())  # noqa: SIM905  # likewise
_WITHOUT_ACCELERATORS: Final = (_SHARED_CORE | {"e2"} | _INTEL | _AMD | _ARM) - _WITH_ACCELERATORS - {"n1"}
_NEVER_MIGRATING: Final = _WITH_ACCELERATORS | {"h3", "h4d"}
_TPUS: Final = re.compile(r"ct[0-9][a-z]+")
_WITHOUT_LOCAL_SSDS: Final = _SHARED_CORE | {"e2", "t2a", "t2d"}


def family_of(machine_type: str) -> str:
    """Return the family of a machine type: n2 of n2-standard-2 and of n2-custom-4-8192, n1 of custom-4-8192."""
    first = machine_type.split("-")[0]
    return "n1" if first == "custom" else first


def migrates(machine_type: str) -> bool:
    """Tell whether such machines may move to another host alive; those of families that are not known may."""
    family = family_of(machine_type)
    if family in _NEVER_MIGRATING or _TPUS.fullmatch(family) is not None:
        return False
    return not machine_type.endswith("-metal")


def may_be_confidential(machine_type: str, technology: str) -> bool:
    """Tell whether such machines may have a technology: `sev`, `sev_snp` (AMD's) or `tdx` (Intel's)."""
    family = family_of(machine_type)
    return family not in _NEVER_CONFIDENTIAL and family not in (_AMD if technology == "tdx" else _INTEL)


def may_have_disks(machine_type: str, disk_type: str) -> bool:
    """Tell whether such machines may have disks of a type."""
    if disk_type == "local-ssd":
        return family_of(machine_type) not in _WITHOUT_LOCAL_SSDS
    return disk_type.startswith("hyperdisk-") or family_of(machine_type) not in _HYPERDISKS_ONLY


def default_disk_type(machine_type: str) -> str:
    """Return the type of a disk for which none is written."""
    return "hyperdisk-balanced" if family_of(machine_type) in _HYPERDISKS_ONLY else "pd-balanced"


def may_get_accelerators(machine_type: str) -> bool:
    """Tell whether accelerators may be given to such machines."""
    return family_of(machine_type) not in _WITHOUT_ACCELERATORS
