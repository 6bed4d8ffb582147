"""Listings: by name, in pages, for one scope or for all."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import invalid, unreachable
from tests.fakes.gce.filters import Filter, read_filter
from tests.fakes.gce.links import link, path
from tests.fakes.gce.writing import Reply, without_none

MOST: Final = 500


def page(asked: Asked, kind: str, item: str, things: Iterable[Checked], scope: str) -> Reply:
    """Return the page of one scope's things that is asked for."""
    filter_ = read_filter(asked.get("filter"), item)
    found = _sorted(asked, [one for one in things if filter_.matches(one.value)])
    shown, token = _cut(asked, [("", one) for one in found])
    return without_none(
        {
            "kind": f"compute#{kind}List",
            "id": path(scope, asked.method.path[-1]),
            "items": [thing for _, thing in shown],
            "nextPageToken": token,
            "selfLink": link(scope, asked.method.path[-1]),
        }
    )


def aggregated(
    asked: Asked,
    kind: str,
    item: str,
    member: str,
    scopes: Sequence[str],
    listed: Callable[[str, Filter], Iterable[Checked]],
    lost: Mapping[str, bool],
) -> Reply:
    """Return the page of all scopes' things that is asked for. `lost` scopes are left out: unasked where True."""
    filter_ = read_filter(asked.get("filter"), item)
    partial = asked.get("returnPartialSuccess", False)
    gone = [one for one in scopes if one in lost]
    for scope in gone:
        if not partial and not lost[scope]:
            raise unreachable(scope)
    found = [
        (scope, one)
        for scope in scopes
        if scope not in gone
        for one in _sorted(asked, [one for one in listed(scope, filter_) if filter_.matches(one.value)])
    ]
    shown, token = _cut(asked, found, scopes)
    items: dict[str, dict[str, Any]] = {scope: {} for scope in scopes}
    for scope, one in shown:
        items[scope].setdefault(member, []).append(one)
    for empty in (scope for scope, inner in items.items() if not inner):
        items[empty]["warning"] = _lost(empty) if empty in gone else _nothing(empty)
    return without_none(
        {
            "kind": f"compute#{kind}AggregatedList",
            "id": f"projects/infrakit-test/aggregated/{member}",
            "items": items,
            "nextPageToken": token,
            "selfLink": link("aggregated", member),
            "unreachables": gone,
        }
    )


def _sorted(asked: Asked, things: list[Checked]) -> list[Checked]:
    match asked.get("orderBy") or "name":
        case "name":
            return sorted(things, key=_name)
        case "creationTimestamp desc":
            when = {"creationTimestamp", "insertTime"}
            return sorted(things, key=lambda one: max(str(one.value.get(name, "")) for name in when), reverse=True)
        case other:
            raise invalid("orderBy", other)


def _name(one: Checked) -> str:
    """Return what a listing is in order of. The members of a group have no names."""
    return str(one.value.get("name") or one.value["instance"])


def _cut(
    asked: Asked, found: list[tuple[str, Checked]], scopes: Sequence[str] = ("",)
) -> tuple[list[tuple[str, Checked]], str]:
    """Return a page, and the token of the next one. By name, a page begins after the last name of the one before."""
    most = asked.get("maxResults", MOST)
    if not 0 <= most <= MOST:
        raise invalid("maxResults", most, "Values must be within the following range: [0, 500]")
    start, end = 0, most or MOST
    if token := asked.get("pageToken"):
        scope, name, number = _read_token(token, scopes)
        start = number
        if asked.get("orderBy") in (None, "", "name"):
            places = {one: place for place, one in enumerate(scopes)}
            last = (places[scope], name)
            start = next((i for i, (s, one) in enumerate(found) if (places[s], _name(one)) > last), len(found))
        end = start + (most or MOST)
    shown = found[start:end]
    if end >= len(found):
        return shown, ""
    last_scope, last_one = shown[-1]
    return shown, base64.urlsafe_b64encode(json.dumps([last_scope, _name(last_one), end]).encode()).decode()


def _read_token(token: str, scopes: Sequence[str]) -> tuple[str, str, int]:
    try:
        scope, name, number = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as exc:
        raise invalid("pageToken", token, "Invalid page token.") from exc
    if scope not in scopes:
        raise invalid("pageToken", token, "Invalid page token.")
    return scope, name, number


def _nothing(scope: str) -> Reply:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


def _lost(scope: str) -> Reply:
    return {
        "code": "UNREACHABLE",
        "message": f"The scope '{scope}' is not reachable.",
        "data": [{"key": "scope", "value": scope}],
    }
