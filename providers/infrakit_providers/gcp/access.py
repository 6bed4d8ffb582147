"""Who we are, whether there is such a project for us, and what we may do there. Nothing is changed."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.catalogue import quotas_of
from infrakit_providers.gcp.clients import CALL_SECONDS
from infrakit_providers.gcp.diagnoses import Quota
from infrakit_providers.gcp.faults import translated
from infrakit_providers.gcp.permissions import ACT_AS, Needs
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Finding, Grade

WHAT_TO_ALLOW: Final = "infra iam gcp writes the role with all that must be allowed"
_PERMISSIONS_A_CALL: Final = 100
"""Source: API reference, projects.testIamPermissions."""
_SWITCHED_OFF: Final = ("accessNotConfigured", "SERVICE_DISABLED")
_UNKNOWN: Final = 401
_FORBIDDEN: Final = 403
_ABSENT: Final = 404
_FINE: Final = 200


class Access:
    """A look at credentials, project and permissions. What it finds goes to `findings`."""

    def __init__(self, caller: Caller, findings: list[Finding]) -> None:
        self.quotas: tuple[Quota, ...] = ()
        """Those of the project as a whole, once it was examined."""
        self._caller = caller
        self._findings = findings
        self._default_account = ""

    def examine(self) -> bool:
        """Examine credentials and project. Return whether it is of any use to go on."""
        try:
            session = self._caller.clients.session()
        except ProviderError as exc:
            self._findings.append(Finding("credentials", Grade.PROBLEM, told(exc), exc.hint or ""))
            return False
        about = f"project {self._caller.project}"
        try:
            raw = self._caller.ask("projects", "get", f"find {about}")
        except ProviderError as exc:
            finding, goes_on = _without_project(about, exc)
            if finding.about != "credentials":
                self._findings.append(_owner(session))
            self._findings.append(finding)
            return goes_on
        finally:
            session.close()
        self.quotas = quotas_of(raw)
        self._default_account = raw.default_service_account
        self._findings += [_owner(session), Finding(about, Grade.OK, "it is there, with Compute Engine's API")]
        return True

    def permissions(self, needs: Needs) -> None:
        """Examine what is allowed in the project as a whole; what only parts of it allow, nobody tells."""
        project = self._caller.project
        try:
            allowed = self._allowed(needs.own)
        except ProviderError as exc:
            self._findings.append(unexamined("permissions", exc))
        else:
            self._findings.append(_of_permissions(project, needs, allowed))
            if ACT_AS in needs.own:
                self._findings += self._of_accounts(needs.accounts, may_act=ACT_AS in allowed)
        for other, permissions in needs.elsewhere.items():
            text = f"not examined; needed there: {', '.join(permissions)}"
            self._findings.append(Finding(f"permissions in project {other}", Grade.OK, text))

    def _allowed(self, permissions: Sequence[str]) -> set[str]:
        """Ask which of these we have. The project's policy answers, not that of any thing in it."""
        from google.api_core.exceptions import from_http_response
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        doing = "ask for permissions"
        url = f"{self._caller.clients.resource_manager}/v1/projects/{self._caller.project}:testIamPermissions"
        allowed: set[str] = set()
        session = self._caller.clients.session()
        try:
            for begin in range(0, len(permissions), _PERMISSIONS_A_CALL):
                asked = {"permissions": list(permissions[begin : begin + _PERMISSIONS_A_CALL])}
                answer = session.post(url, json=asked, timeout=CALL_SECONDS)
                if answer.status_code != _FINE:
                    raise translated(from_http_response(answer), doing)  # type: ignore[no-untyped-call]  # it has no types
                allowed.update(answer.json().get("permissions", ()))
        except (GoogleAuthError, RequestException, OSError) as exc:
            raise translated(exc, doing) from exc
        finally:
            session.close()
        return allowed

    def _of_accounts(self, accounts: Sequence[str], *, may_act: bool) -> Iterator[Finding]:
        for account in accounts:
            about = f"service account {account}"
            email = (self._default_account or account) if account == "default" else account
            if may_act:
                yield Finding(about, Grade.OK, "machines may be made to act as it")
                continue
            text = "not allowed to act as each of the project's accounts; as this one alone cannot be examined"
            hint = (
                f"if it is not so yet: gcloud iam service-accounts add-iam-policy-binding {email} "
                f"--project {self._caller.project} --role roles/iam.serviceAccountUser --member WHOEVER_APPLIES"
            )
            yield Finding(about, Grade.WARNING, text, hint)


def unexamined(about: str, error: ProviderError, *, needed: bool = False) -> Finding:
    """Return the finding of what cannot be found out: a warning, unless machines fail for the same reason."""
    grade = Grade.PROBLEM if needed and not isinstance(error, Transient) else Grade.WARNING
    hint = WHAT_TO_ALLOW if status_of(error) == _FORBIDDEN else error.hint or ""
    return Finding(about, grade, f"cannot be examined: {told(error)}", hint)


def told(error: ProviderError) -> str:
    """Return what Google said, or what went wrong, without what was being done."""
    text = str(error).removeprefix("gcp: ")
    return text.partition(": ")[2] or text if text.startswith("cannot ") else text


def status_of(error: ProviderError) -> int:
    """Return the HTTP status behind an error of ours; 0 where there is none."""
    return int(getattr(error.__cause__, "code", 0) or 0)


def _owner(session: Any) -> Finding:
    """Tell whose credentials these are. Users' seldom say."""
    credentials = session.credentials
    whose = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    return Finding("credentials", Grade.OK, whose or "a user's, who is not named in them")


def _without_project(about: str, error: ProviderError) -> tuple[Finding, bool]:
    """Judge a project that was not to be had, and tell whether it is of any use to go on."""
    from google.auth.exceptions import GoogleAuthError

    text, status = told(error), status_of(error)
    if status == _UNKNOWN or (isinstance(error.__cause__, GoogleAuthError) and not isinstance(error, Transient)):
        hint = "get new ones (such as by gcloud auth application-default login), and try again"
        return Finding("credentials", Grade.PROBLEM, text, hint), False
    if text.startswith(_SWITCHED_OFF):
        hint = f"gcloud services enable compute.googleapis.com --project {about.removeprefix('project ')}"
        return Finding(about, Grade.PROBLEM, text, hint), False
    if status == _ABSENT:
        return Finding(about, Grade.PROBLEM, text, "look at the project's id: it is not its name"), False
    if not status:
        hint = error.hint or "look at the network, and at the provider's endpoint"
        return Finding(about, Grade.PROBLEM, text, hint), False
    return unexamined(about, error), True


def _of_permissions(project: str, needs: Needs, allowed: set[str]) -> Finding:
    wanted = [one for one in needs.own if one != ACT_AS]
    if lacking := [one for one in wanted if one not in allowed]:
        text = "\n".join(f"not allowed in the project as a whole: {one}" for one in lacking)
        return Finding("permissions", Grade.PROBLEM, text, WHAT_TO_ALLOW)
    return Finding("permissions", Grade.OK, f"all {len(wanted)} that are needed in {project}")
