"""The plain flavor: user data from a template, a file or many, and a call to the machine itself before it goes.

It knows nothing of what runs on the machines.
"""

import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from pydantic import BaseModel

from infrakit_groups.flavors import declared_files
from infrakit_groups.flavors.user_data import Template, TemplateFault
from infrakit_groups.flavors.vanilla_options import Options
from infrakit_py.errors import Problem, ProviderError, SpecError, Transient
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.flavor import MemberIdentity

_DRAIN_TIMEOUT_SECONDS: Final = 5.0
_NOT_YET: Final = (HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE)


class Vanilla:
    """The flavor of one group."""

    def __init__(self, options: Options, *, cluster: str, group: str) -> None:
        self._user_data = options.user_data
        self._drain = options.drain
        self._cluster = cluster
        self._group = group
        self.drains = options.drain is not None

    def review(self, members: Iterable[MemberIdentity]) -> Iterator[Complaint]:
        """Make it for each member and complain about the first that fails: the others fail for the same reason."""
        written = self._user_data
        if written is not None and written.files is not None:
            for complaint in declared_files.complaints(written.files, members):
                yield replace(complaint, path=("user_data", "files", *complaint.path))
        if written is None or written.template is None:
            return
        for member in members:
            try:
                Template(written.template).render(member)
            except TemplateFault as fault:
                yield Complaint(("user_data", "template"), fault.message, fault.line - 1)
                return

    def material(self) -> Mapping[str, Json]:
        """Return the user data as written, and the names that it may hold.

        The group's size is left out: growing a group replaces no machine, so a template that uses `group.size`
        holds the size at each machine's birth. How a machine is drained is left out as well.
        """
        if self._user_data is None:
            return {}
        return {
            "user_data": self._user_data.model_dump(mode="json", exclude_unset=True),
            "cluster": self._cluster,
            "group": self._group,
        }

    def user_data(self, member: MemberIdentity) -> bytes | None:
        written = self._user_data
        if written is None:
            return None
        if written.files is not None:
            return declared_files.user_data(written.files, member)
        if written.template is None:
            return (written.text or "").encode()
        try:
            return Template(written.template).render(member).encode()
        except TemplateFault as fault:
            where = f"user data of {member.cluster}/{member.group}/{member.name}"
            raise SpecError([Problem(where, fault.line, 1, fault.message)]) from fault

    def healthy(self, instance: Instance) -> str | None:
        """Have no opinion: what runs on the machine is unknown here, and a group has `http` and `command` to ask."""
        del instance
        return None

    def drain(self, instance: Instance) -> bool:
        """POST to the machine: 2xx means drained, 202 and 503 not yet. Transient where it cannot be asked."""
        if self._drain is None:
            return True
        if not instance.addresses:
            raise Transient(f"cannot drain {instance.id}: it has no address")
        address = instance.addresses[0]
        host = f"[{address}]" if ":" in address else address
        status = _post(f"http://{host}:{self._drain.port}{self._drain.path}")
        if status in _NOT_YET:
            return False
        if status // 100 == 2:
            return True
        raise ProviderError(f"cannot drain {instance.id}: it answered {status}")


class VanillaPlugin:
    """User data from a template or files; drain by an HTTP call to the machine."""

    summary = "user data from a template or files; drain by an HTTP call to the machine"
    options: type[BaseModel] = Options

    def open(self, options: Mapping[str, Json], *, cluster: str, group: str) -> Vanilla:
        return Vanilla(Options.model_validate(options), cluster=cluster, group=group)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A machine answers for itself; it cannot send us elsewhere."""

    def redirect_request(self, *_redirect: object) -> None:
        return None


def _post(url: str) -> int:
    """Return the status of the answer. Transient if there is none."""
    request = urllib.request.Request(url, data=b"", method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=_DRAIN_TIMEOUT_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
    except (OSError, HTTPException) as exc:
        raise Transient(f"cannot drain by POST {url}: {getattr(exc, 'reason', exc)}") from exc


plugin = VanillaPlugin()
