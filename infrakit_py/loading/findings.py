"""Collects what is wrong with one document, each finding at the place that it is about, in words for people."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infrakit_py.errors import Problem
from infrakit_py.loading.model_messages import explain, keys_of
from infrakit_py.loading.yaml_documents import Document, Place
from infrakit_py.loading.yaml_nodes import Mark
from infrakit_py.spi.complaint import Complaint

_SHOWN_KEYS: Final = 16
_SHOWN_VALUE: Final = 60
_ABSENT: Final = object()


class Findings:
    """The problems of one document so far. What is written at or below `secret_keys` is never shown."""

    def __init__(self, document: Document, secret_keys: Collection[str] = ()) -> None:
        self._document = document
        self._secret_keys = frozenset(secret_keys)
        self.problems: list[Problem] = list(document.problems)

    def at_value(self, place: Place, message: str, line_offset: int = 0, *, show: bool = False) -> None:
        """Note a wrong value. With `show` the message ends in what was written, if that is short."""
        if any(place[:length] in self._document.unfilled for length in range(len(place) + 1)):
            return
        message = self._without_secrets(place, message)
        if show and (got := self._got(place)) and not re.search(rf"(?<!\w){re.escape(got)}(?!\w)", message):
            message = f"{message} (got {got})"
        self._note(self._document.value_mark(place, line_offset), place, message)

    def at_key(self, place: Place, message: str) -> None:
        """Note something about the key itself, or about all that is below it."""
        self._note(self._document.key_mark(place), place, message)

    def missing(self, place: Place, key: str) -> None:
        self.at_key(place, f"missing key {key!r}")

    def unknown_key(self, place: Place, known: Sequence[str]) -> None:
        """Note a key that nobody knows, together with the one that was probably meant."""
        key = str(place[-1])
        message = f"unknown key {key!r}{suggestion(key, known, 'known are')}"
        self._note(self._document.key_mark(place), place[:-1], message)

    def complain(self, place: Place, complaints: Iterable[Complaint]) -> None:
        """Note a plugin's complaints about its mapping at `place`."""
        for complaint in complaints:
            at, offset = self._existing((*place, *complaint.path), at_least=len(place)), complaint.line_offset
            in_line = "" if self._document.is_block(at) or not offset else f" (in its line {offset + 1})"
            self.at_value(at, complaint.message + in_line, offset)

    def invalid(
        self, place: Place, error: ValidationError, model: type[BaseModel], also_known: Sequence[str] = ()
    ) -> None:
        """Note all that a model found wrong with the data at `place`, where keys `also_known` are allowed too."""
        for details in error.errors(include_url=False):
            if details["type"] != "none_required":  # the other half of `T | None`, which has its own say
                self._note_details(place, details, model, also_known)

    def _note_details(
        self, place: Place, details: ErrorDetails, model: type[BaseModel], also_known: Sequence[str]
    ) -> None:
        steps = details["loc"]
        about_key = bool(steps) and steps[-1] == "[key]"
        at = (*place, *self._steps_in_data(place, steps))
        match details["type"]:
            case "missing" | "missing_argument":
                self.missing(at, str(steps[-1]))
            case "extra_forbidden":
                below = at[len(place) : -1]
                self.unknown_key(at, (*(() if below else also_known), *keys_of(model, below)))
            case _ if about_key:
                self.at_key(at, f"the name {explain(details)}")
            case _:
                self.at_value(at, explain(details), show=True)

    def _steps_in_data(self, place: Place, steps: Sequence[int | str]) -> Place:
        """Drop those steps of a pydantic location that are no keys but names of types and validators."""
        kept: list[int | str] = []
        for step in steps:
            if (*place, *kept, step) in self._document.values:
                kept.append(step)
        return tuple(kept)

    def _existing(self, place: Place, at_least: int) -> Place:
        while len(place) > at_least and place not in self._document.values:
            place = place[:-1]
        return place

    def _without_secrets(self, place: Place, message: str) -> str:
        """Show a variable by its name where a message quotes its value."""
        written, filled = self._document.written.get(place), self._value(place)
        return message.replace(repr(filled), repr(written)) if written and isinstance(filled, str) else message

    def _got(self, place: Place) -> str:
        if not self._secret_keys.isdisjoint(place):
            return ""
        value = self._value(place)
        if place in self._document.written:
            return repr(self._document.written[place])
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return str(value).lower()
        text = repr(value) if isinstance(value, str | int | float) else ""
        return text if len(text) <= _SHOWN_VALUE and "\\n" not in text else ""

    def _value(self, place: Place) -> Any:
        value: Any = self._document.data
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return _ABSENT
        return value

    def _note(self, mark: Mark, place: Place, message: str) -> None:
        self.problems.append(self._document.problem(mark, place, message))


def suggestion(name: str, names: Sequence[str], listed_as: str) -> str:
    """Return `; did you mean 'health'?`, or the names there are, if they are few."""
    if close := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; {listed_as} {', '.join(names)}" if 0 < len(names) <= _SHOWN_KEYS else ""
