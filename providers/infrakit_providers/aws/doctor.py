"""Examines whether the machines that a spec wants would work in this account and region, and changes nothing.

Here it asks who we are and whether there is such a region; what machines need of it is asked elsewhere.
"""

from collections.abc import Sequence
from typing import Final

from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.examination import Examination, unexamined
from infrakit_providers.aws.faults import EXPIRED
from infrakit_providers.aws.images import Images
from infrakit_providers.aws.kept import vendor_code
from infrakit_providers.aws.publish_examination import PublishExamination
from infrakit_providers.aws.rehearsals import NOT_ALLOWED, said
from infrakit_providers.aws.settings import Settings
from infrakit_py.errors import ProviderError
from infrakit_py.spi.provider import Finding, Grade, Wanted

_CLOSED_REGION: Final = frozenset({"AuthFailure", "OptInRequired"})


class Doctor:
    """Examines an account's region. Safe for threads."""

    def __init__(self, caller: Caller, images: Images, settings: Settings) -> None:
        self._caller = caller
        self._images = images
        self._region = settings.region
        self._publishing = PublishExamination(caller, images, settings.publish, settings.region)

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> list[Finding]:
        """Return what was found, good and bad. Nothing more is examined without credentials, or without a region."""
        findings: list[Finding] = []
        for first in (self._credentials, self._reach):
            finding, goes_on = first()
            findings.append(finding)
            if not goes_on:
                return findings
        Examination(self._caller, self._images, cluster, findings).run(wanted)
        findings += self._publishing.run([one.image for one in wanted])
        return findings

    def _credentials(self) -> tuple[Finding, bool]:
        """Ask who we are. Everybody may, so a refusal is one of the credentials."""
        about = "credentials"
        try:
            me = self._caller.ask("sts", "get_caller_identity", "ask who we are")
        except ProviderError as exc:
            if exc.retryable and not _expired(exc) and type(exc.__cause__).__name__ != "CredentialRetrievalError":
                return unexamined(about, exc), True
            return Finding(about, Grade.PROBLEM, said(exc), _about_credentials(exc)), False
        return Finding(about, Grade.OK, f"account {me['Account']}, {me['Arn']}"), True

    def _reach(self) -> tuple[Finding, bool]:
        about = f"region {self._region}"
        try:
            answer = self._caller.ask("ec2", "describe_availability_zones", "list the zones")
        except ProviderError as exc:
            if vendor_code(exc) in _CLOSED_REGION:
                hint = "let the account use the region (Account, AWS Regions), or write another one"
                return Finding(about, Grade.PROBLEM, said(exc), hint), False
            if not vendor_code(exc):
                hint = "look at the region's name, and at the network"
                return Finding(about, Grade.PROBLEM, said(exc), hint), False
            return unexamined(about, exc), True
        zones = sorted(one["ZoneName"] for one in answer["AvailabilityZones"] if one.get("State") == "available")
        return Finding(about, Grade.OK, f"zones {', '.join(zones)}"), True


def _expired(error: ProviderError) -> bool:
    return vendor_code(error) in EXPIRED


def _about_credentials(error: ProviderError) -> str:
    if _expired(error):
        return "get new ones (such as by aws sso login), and try again"
    if not vendor_code(error) and error.hint:
        return error.hint
    if vendor_code(error) in NOT_ALLOWED:
        return "whoever infra starts as must be allowed to assume the role, and the role must trust it"
    return "look at the keys of the profile, the environment or the role that infra starts with"
