"""A request, read and checked: which method it means, and what it says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.gce.checking import Misfit, check_of, check_parameter
from tests.fakes.gce.document import COMMON, Method
from tests.fakes.gce.errors import GceError, bad_request, forbidden, invalid, required
from tests.fakes.gce.settings import PROJECT

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ZERO: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class Asked:
    """What a caller wants, and what it may not."""

    method: Method
    parameters: Mapping[str, Any]
    body: Mapping[str, Any]
    caller: str = ""
    denied: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def get(self, name: str, otherwise: Any = None) -> Any:
        return self.parameters.get(name, otherwise)

    @property
    def scope(self) -> str:
        """Where the thing is that the method is about."""
        for kind in ("zone", "region"):
            if kind in self.parameters:
                return f"{kind}s/{self.parameters[kind]}"
        return "global"

    def permit(self, permission: str, resource: str = f"projects/{PROJECT}") -> None:
        """Refuse, if the caller lacks a permission that what it asks for takes."""
        if permission in self.denied:
            raise forbidden(permission, resource)

    @property
    def request_id(self) -> str:
        return str(self.parameters.get("requestId", ""))


def read_parameters(method: Method, names: Mapping[str, str], query: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters in path and query. GceError for any that the document does not know."""
    found: dict[str, Any] = {}
    for name, written in [*names.items(), *query]:
        if name in COMMON:
            continue
        parameter = method.parameters.get(name)
        if parameter is None or (name not in names and parameter.get("location") == "path"):
            raise bad_request(
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. Field '
                f"'{name}' could not be found in request message."
            )
        try:
            value = check_parameter(written, parameter, name)
        except Misfit as exc:
            raise _refusal(exc, in_url=True) from exc
        if parameter.get("repeated"):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise bad_request(f"Invalid value at '{name}': it is given twice")
        else:
            found[name] = value
    for name, parameter in method.parameters.items():
        if parameter.get("required") and name not in found:
            raise required(name)
    _check_request_id(found)
    return found


def read_body(method: Method, body: bytes) -> dict[str, Any]:
    """Return the body of a request. GceError for what the document does not allow."""
    if method.request is None:
        if body.strip() not in (b"", b"{}"):
            raise bad_request("Invalid JSON payload received. The method takes no body.")
        return {}
    try:
        read: Any = json.loads(body or b"{}")
    except ValueError as exc:
        raise GceError(400, "parseError", f"Parse Error: {exc}", by_front=True) from exc
    try:
        check_of(method.request, method.id)(read, "resource")
    except Misfit as exc:
        raise _refusal(exc) from exc
    asked: dict[str, Any] = read
    return asked


def _check_request_id(parameters: Mapping[str, Any]) -> None:
    written = parameters.get("requestId")
    if written is not None and (not _UUID.fullmatch(written) or written == _ZERO):
        raise invalid("requestId", written, "Must be a valid UUID, and not the zero UUID.")


def _refusal(misfit: Misfit, *, in_url: bool = False) -> GceError:
    if misfit.unknown:
        return bad_request(
            f"Invalid JSON payload received. Unknown name \"{misfit.unknown}\" at '{misfit.where}': "
            "Cannot find field."
        )
    if misfit.missing:
        return required(misfit.where)
    if "regex" in misfit.why or in_url:
        return GceError(400, "invalid", f"Invalid value for field '{misfit.where}': {misfit.why}")
    return bad_request(f"Invalid value at '{misfit.where}' {misfit.why}")
