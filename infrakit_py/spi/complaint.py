"""How a plugin says that what the user wrote is wrong, without knowing files."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Complaint:
    """A mistake at `path` below the plugin's own mapping; the loader adds file, line and column.

    `line_offset` counts lines into a text value (a template's third line is 2).
    """

    path: tuple[str | int, ...]
    message: str
    line_offset: int = 0
