"""What became of the versions of groups, as a table and as JSON."""

from collections.abc import Sequence
from datetime import datetime

from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import Json
from infrakit_py.render.standing import at_json
from infrakit_py.render.tables import table
from infrakit_py.render.words import SHORT


def history_text(entries: Sequence[HistoryEntry]) -> str:
    """Write entries as a table, in the order given, with times as the clock on the wall shows them here."""
    if not entries:
        return "  nothing is remembered"
    return table(("TIME", "GROUP", "EVENT", "REVISION", "IMAGE", "REASON"), [_row(e) for e in entries], indent="  ")


def history_json(entry: HistoryEntry) -> dict[str, Json]:
    return {
        "at": at_json(entry.at),
        "group": entry.group,
        "event": entry.event,
        "revision": entry.revision or None,
        "image": entry.image or None,
        "identity": entry.image_identity or None,
        "fingerprint": entry.fingerprint or None,
        "reason": entry.reason,
    }


def _row(entry: HistoryEntry) -> tuple[str, ...]:
    return (
        datetime.fromtimestamp(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        entry.group,
        entry.event,
        str(entry.revision or "-"),
        f"{entry.image} ({entry.image_identity[:SHORT]})" if entry.image else "-",
        entry.reason,
    )
