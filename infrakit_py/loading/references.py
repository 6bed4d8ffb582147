"""Names that point at something else: found, or reported with the name that was probably meant."""

from collections.abc import Collection
from typing import Any

from infrakit_py.loading.findings import Findings, suggestion
from infrakit_py.loading.yaml_documents import Place


def mapping(data: Any, *steps: str) -> dict[str, Any]:
    """Return the mapping at `steps` below `data`; an empty one where there is none, which is reported elsewhere."""
    for step in steps:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def refer(findings: Findings, place: Place, name: Any, declared: Collection[str], what: str) -> None:
    """Report a name that nothing declared has. Whatever is no text is reported elsewhere."""
    if isinstance(name, str) and name not in declared:
        known = suggestion(name, tuple(declared), "there are") or f"; no {what} is declared" * (not declared)
        findings.at_value(place, f"there is no {what} {name!r} in this document{known}")
