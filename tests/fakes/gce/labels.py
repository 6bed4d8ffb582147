"""What Google allows as labels."""

import re
from collections.abc import Mapping
from typing import Final

from tests.fakes.gce.errors import invalid

MOST: Final = 64
_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")


def check_labels(labels: Mapping[str, str], field: str) -> None:
    """Refuse labels that cannot be. Google also allows letters of other alphabets; the fake does not."""
    if len(labels) > MOST:
        raise invalid(field, "", f"The number of labels exceeds {MOST}.")
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            raise invalid(field, key, f"Label key '{key}' violates format constraints: it must match {_KEY.pattern}.")
        if not _VALUE.fullmatch(value):
            raise invalid(
                field, value, f"Label value '{value}' violates format constraints: it must match {_VALUE.pattern}."
            )
