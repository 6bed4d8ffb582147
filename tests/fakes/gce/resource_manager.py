"""The one call of Cloud Resource Manager that is answered here: which permissions a caller has in the project."""

import json
import re
from typing import Any, Final

from tests.fakes.gce.errors import GceError, bad_request
from tests.fakes.gce.settings import PROJECT, PROJECT_NUMBER

CALL: Final = "projects.testIamPermissions"
_PATH: Final = re.compile(r"/v1/projects/([^/:]+):testIamPermissions")
_PERMISSION: Final = re.compile(r"[a-z][a-zA-Z]*\.[a-zA-Z]+\.[a-zA-Z]+")
_MOST: Final = 100


def project_of(verb: str, path: str) -> str | None:
    """Return the project whose permissions are asked for, if that is the call."""
    found = _PATH.fullmatch(path)
    return found[1] if found and verb == "POST" else None


def permissions(project: str, body: bytes, denied: set[str]) -> dict[str, Any]:
    """Answer which of some permissions the caller has. Those that nobody was denied."""
    if project not in (PROJECT, PROJECT_NUMBER):
        raise GceError(403, "forbidden", "The caller does not have permission", by_front=True)
    try:
        asked = json.loads(body or b"{}")
    except ValueError as exc:
        raise bad_request(f"Invalid JSON payload received. {exc}") from exc
    if not isinstance(asked, dict) or not isinstance(asked.get("permissions", []), list):
        raise bad_request("Invalid value at 'permissions' (TYPE_STRING)")
    if unknown := [name for name in asked if name != "permissions"]:
        raise bad_request(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
    wanted = asked.get("permissions", [])
    if len(wanted) > _MOST:
        raise bad_request(f"At most {_MOST} permissions can be tested at once.")
    for one in wanted:
        if not isinstance(one, str) or not _PERMISSION.fullmatch(one):
            raise bad_request(f"Permission {one} is not valid for this resource.")
    has = [one for one in wanted if one not in denied]
    return {"permissions": has} if has else {}
