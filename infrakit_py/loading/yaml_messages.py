"""libyaml's syntax errors in words that say what to do."""

from typing import Any, Final

import yaml

from infrakit_py.errors import Problem

_ADVICE: Final = {
    "mapping values are not allowed in this context": (
        "unexpected ':': check the indentation, and quote a text that contains ': '"
    ),
    "could not find expected ':'": "there is no ':' after this key",
    "did not find expected key": "unexpected indentation, or a missing '-', ',' or quote",
    "did not find expected '-' indicator": "unexpected indentation, or a missing '-' in a list",
    "found character that cannot start any token": "a plain text may not begin with this character; quote it",
    "found unexpected end of stream": "a quote is opened here and never closed",
    "did not find expected ',' or ']'": "a ',' or ']' is missing in the list",
    "did not find expected ',' or '}'": "a ',' or '}' is missing in the mapping",
    "block sequence entries are not allowed in this context": "a list must begin on a line of its own",
    "found unknown escape character": "unknown escape in a double-quoted text; write \\\\ for a backslash",
}
_POINTING_AT_THE_BEGINNING: Final = ("found unexpected end of stream", "could not find expected ':'")


def syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """Say what is wrong, and where: at the opening quote rather than at the end of the file."""
    mark: Any = error.problem_mark or error.context_mark
    if error.context_mark and error.problem in _POINTING_AT_THE_BEGINNING:
        mark = error.context_mark
    message = _ADVICE.get(error.problem or "") or _plain(error)
    if mark is None:
        return Problem(file, 0, 0, f"not YAML: {message}")
    if text[mark.index : mark.index + 1] == "\t":
        message = "a tab is no indentation in YAML; use spaces"
    line = text.split("\n")[mark.line] if mark.line <= text.count("\n") else ""
    if "${env:" in line and ("{" in line.replace("${env:", "") or "[" in line):
        message += '; inside { } and [ ] write "${env:NAME}" in quotes'
    return Problem(file, mark.line + 1, mark.column + 1, f"not YAML: {message}")


def _plain(error: yaml.MarkedYAMLError) -> str:
    return f"{error.problem} ({error.context})" if error.context else str(error.problem)
