"""How Google names things: by paths, and by links that are the path after a fixed beginning."""

import re
from typing import Final

from tests.fakes.gce.errors import invalid
from tests.fakes.gce.settings import PROJECT, PROJECT_NUMBER

ROOT: Final = "https://www.googleapis.com/compute/v1/"
_BEGINNING: Final = re.compile(r"(https?://(www\.googleapis\.com/compute|compute\.googleapis\.com/compute)/v1)?/?")
NAME: Final = "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"


def path(scope: str, *parts: str, project: str = PROJECT) -> str:
    """Return the path of a thing in a scope as `zones/europe-west1-b`, `regions/europe-west1` or `global`."""
    return "/".join(("projects", project, *((scope,) if scope else ()), *parts))


def link(scope: str, *parts: str, project: str = PROJECT) -> str:
    return ROOT + path(scope, *parts, project=project)


def read_link(written: str, kind: str, field: str) -> tuple[str, str, str]:
    """Return project, scope and name of a thing of a kind, as `machineTypes`, named by a whole or partial URL."""
    rest = written[_BEGINNING.match(written).end() :]  # type: ignore[union-attr] # it matches the empty string
    form = rf"(?:projects/([^/]+)/)?(global|(?:zones|regions)/[^/]+)/{kind}/((?:family/)?{NAME})"
    found = re.fullmatch(form, rest)
    if not found:
        raise invalid(field, written, "The URL is malformed.")
    project = found[1] or PROJECT
    return PROJECT if project == PROJECT_NUMBER else project, found[2], found[3]


def no_such(field: str, written: str, what: str = "resource") -> Exception:
    return invalid(field, written, f"The referenced {what} does not exist.")
