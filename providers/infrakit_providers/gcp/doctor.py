"""Examines whether the machines that a spec wants would work in this project and region, and changes nothing.

Here it asks whether there is such a region; who we are, and what machines need, is asked elsewhere.
"""

from collections.abc import Sequence

from infrakit_providers.gcp.access import WHAT_TO_ALLOW, Access, unexamined
from infrakit_providers.gcp.bucket import Bucket
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.examination import Examination
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.images import Images
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.permissions import needs
from infrakit_providers.gcp.settings import Settings
from infrakit_providers.gcp.zones import UP, Zones
from infrakit_py.errors import ProviderError
from infrakit_py.spi.provider import Finding, Grade, Now, Wanted


class Doctor:
    """Examines a project's region. Safe for threads."""

    def __init__(self, caller: Caller, images: Images, zones: Zones, settings: Settings, clock: Now) -> None:
        self._clock = clock
        self._caller = caller
        self._images = images
        self._zones = zones
        self._settings = settings

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> list[Finding]:
        """Return what was found, good and bad. Nothing more is examined without credentials, project or region."""
        findings: list[Finding] = []
        access = Access(self._caller, findings)
        if not access.examine():
            return findings
        machines = [(Machine.model_validate(dict(one.machine)), one.named, one.image) for one in wanted]
        needed = needs(machines, self._settings)
        access.permissions(needed)
        if (publish := self._settings.publish) is not None and needed.in_bucket:
            bucket = Bucket(self._caller.clients, self._clock, publish.bucket)
            findings.append(of_bucket(bucket, needed.in_bucket))
        statuses, finding = self._region()
        findings.append(finding)
        if statuses is None or statuses:
            examination = Examination(
                self._caller, self._images, self._zones, cluster, findings, self._settings.publish
            )
            examination.run(wanted, statuses, access.quotas)
        return findings

    def _region(self) -> tuple[dict[str, str] | None, Finding]:
        """Return the status of each zone of the region; None where it cannot be asked."""
        about = f"region {self._zones.region}"
        try:
            statuses = self._zones.statuses()
        except ProviderError as exc:
            return None, unexamined(about, exc, needed=True)
        if not statuses:
            return {}, Finding(about, Grade.PROBLEM, "there is no such region for this project", "write another one")
        up, down = [[name for name in sorted(statuses) if (statuses[name] == UP) is is_up] for is_up in (True, False)]
        if not up:
            return statuses, Finding(about, Grade.PROBLEM, f"no zone is up: {', '.join(down)}", "write another one")
        if down:
            text = f"zones {', '.join(up)} are up, and {', '.join(down)} not"
            return statuses, Finding(about, Grade.WARNING, text, "name the zones that machines shall be in")
        return statuses, Finding(about, Grade.OK, f"zones {', '.join(up)}")


def of_bucket(bucket: Bucket, needed: Sequence[str]) -> Finding:
    """Examine whether images can be published through a bucket. Nothing is written there."""
    about = f"bucket {bucket.name}"
    try:
        allowed = bucket.permitted(needed)
    except NotThere:
        hint = f"make it (gcloud storage buckets create gs://{bucket.name}), or write another one"
        return Finding(about, Grade.PROBLEM, "there is no such bucket", hint)
    except ProviderError as exc:
        return unexamined(about, exc, needed=True)
    if lacking := [one for one in needed if one not in allowed]:
        return Finding(about, Grade.PROBLEM, "\n".join(f"not allowed there: {one}" for one in lacking), WHAT_TO_ALLOW)
    return Finding(about, Grade.OK, f"it is there, with all {len(needed)} permissions that are needed")
