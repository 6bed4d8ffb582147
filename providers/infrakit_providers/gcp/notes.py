"""Notes on machines: short words that are this provider's own business, over as many labels as they need. Pure.

They are written by the call that makes a machine, so that a listing alone says what it is to have.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from infrakit_providers.gcp.labels import LONGEST, OWN

_BETWEEN: Final = "__"


def spread(note: str, words: Sequence[str]) -> dict[str, str]:
    """Return the labels that hold words. In a word there may be an underscore, but never two, nor one at its end."""
    text = _BETWEEN.join(words)
    pieces = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]
    return {_key(note, number): piece for number, piece in enumerate(pieces)}


def gathered(note: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words that were spread over labels, in order."""
    pieces: list[str] = []
    while (piece := labels.get(_key(note, len(pieces)))) is not None:
        pieces.append(piece)
    return tuple(filter(None, "".join(pieces).split(_BETWEEN)))


def noted(note: str) -> str:
    """Return the filter that lets through what carries a note."""
    return f"labels.{_key(note, 0)}:*"


def _key(note: str, number: int) -> str:
    return f"{OWN}{note}-{number}"
