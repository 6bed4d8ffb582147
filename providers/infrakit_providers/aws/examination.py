"""One look at all that a cluster's machines need of a region: it asks, and hands what it learns to those who judge.

Whatever it cannot find out is a finding as well. Nothing is changed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from infrakit_providers.aws import diagnoses, rehearsals
from infrakit_providers.aws.balancers import name_of
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.diagnoses import Case, Raw, machines
from infrakit_providers.aws.fleets import mixes
from infrakit_providers.aws.images import POINTER, Images
from infrakit_providers.aws.kept import tagged, vendor_code
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.metadata_service import fitted
from infrakit_providers.aws.rehearsals import NOT_ALLOWED, WHAT_TO_ALLOW, said
from infrakit_providers.aws.subnets import Site
from infrakit_providers.aws.wire import THERE, raw_tags
from infrakit_py.errors import ImageMissing, ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.spi.provider import Finding, Grade, Wanted

_STAYING: Final = tuple(state for state in THERE if state != "shutting-down")
_VALUES_A_FILTER: Final = 200
_QUOTAS: Final = (("on-demand", "L-1216C47A", False), ("spot", "L-34B43A08", True))
"""Codes of the quotas of vCPUs of standard instances: Service Quotas, service ec2."""
_NO_TARGET_GROUP: Final = frozenset({"TargetGroupNotFound", "TargetGroupNotFoundException"})
_Answer = TypeVar("_Answer")


class Examination:
    """One look at everything. What it finds goes to `findings` in order."""

    def __init__(self, caller: Caller, images: Images, cluster: str, findings: list[Finding]) -> None:
        self._caller = caller
        self._images = images
        self._cluster = cluster
        self._findings = findings

    def run(self, wanted: Sequence[Wanted]) -> None:
        present = self._present()
        cases = [self._case(one, present) for one in wanted]
        types = self._types(cases)
        offered = self._offered(cases) if types else {}
        images = self._look("images", lambda: self._described_images(cases), needed=True)
        sites = [(case, self._subnets(case)) for case in cases]
        for case, subnets in sites:
            self._examine(case, types, offered, images, subnets)
        self._findings += diagnoses.of_shared_subnets([(case, subnets or ()) for case, subnets in sites])
        self._findings += self._changes(present)
        if types:
            self._findings += self._quotas(cases, types)

    def _examine(
        self,
        case: Case,
        types: Mapping[str, Raw] | None,
        offered: Mapping[str, frozenset[str]] | None,
        images: Mapping[str, Raw] | None,
        subnets: Sequence[Raw] | None,
    ) -> None:
        """Examine all sides of one group; None stands for what could not be asked."""
        zones = list(dict.fromkeys(one["AvailabilityZone"] for one in subnets or ()))
        vpcs = {one["VpcId"] for one in subnets or ()}
        if images is not None and case.image_id:
            self._findings.append(diagnoses.of_image(case, images.get(case.image_id), types or {}))
        if types is not None and offered is not None:
            self._findings.append(diagnoses.of_types(case, types, offered, zones))
        if subnets is not None:
            self._findings.append(diagnoses.of_subnets(case, subnets))
        if case.machine.security_groups:
            self._security_groups(case, vpcs)
        if case.machine.key_name is not None:
            self._key_pair(case)
        for target_group in case.machine.target_groups:
            self._target_group(case, target_group, vpcs)
        image = (images or {}).get(case.image_id)
        if image is not None and subnets:
            self._findings += self._launches(case, image, subnets, offered or {})
        elif not case.image_id and subnets and images is not None:
            detail = "examined once the image is published"
            self._findings.append(Finding(case.about("launch"), Grade.OK, detail))
        else:
            detail = "cannot be examined without an image and a subnet"
            self._findings.append(Finding(case.about("launch"), Grade.WARNING, detail))

    # What there is of a cluster, and of what all its groups name.

    def _present(self) -> list[Raw] | None:
        filters = [tagged(tags.CLUSTER, self._cluster), {"Name": "instance-state-name", "Values": list(_STAYING)}]
        pages = self._pages("describe_instances", "list the instances", Filters=filters)
        found = self._look(
            "machines", lambda: [raw for page in pages for one in page["Reservations"] for raw in one["Instances"]],
            needed=True,
        )  # fmt: skip
        if found is not None:
            found = [raw for raw in found if tags.owned_by(raw_tags(raw), self._cluster)]
            detail = f"cluster {self._cluster} has {machines(len(found))} here"
            self._findings.append(Finding("machines", Grade.OK, detail))
        return found

    def _case(self, wanted: Wanted, present: Sequence[Raw] | None) -> Case:
        there = Counter(raw_tags(raw).get(tags.GROUP, "") for raw in present or ())
        missing = max(0, wanted.count - there[wanted.group])
        machine = fitted(Machine.model_validate(dict(wanted.machine)), wanted.image)
        about, image_id = f"group {wanted.group}: image", wanted.image.reference
        if wanted.image.form is not ImageForm.REFERENCE:
            image_id = self._look(about, lambda: self._published_as(wanted.image), needed=True) or ""
        elif image_id.startswith(POINTER):
            image_id = self._look(about, lambda: self._images.resolve(wanted.image.reference), needed=True) or ""
        return Case(wanted.group, machine, image_id, wanted.count, missing, wanted.named)

    def _published_as(self, image: Image) -> str:
        """Return the AMI of an image; none before it is published."""
        try:
            return self._images.ami_of(image)
        except ImageMissing:
            return ""

    def _types(self, cases: Iterable[Case]) -> dict[str, Raw] | None:
        def ask() -> dict[str, Raw]:
            found = self._filtered("describe_instance_types", "InstanceTypes", "instance-type", _types_of(cases))
            return {one["InstanceType"]: one for one in found}

        return self._look("instance types", ask)

    def _offered(self, cases: Iterable[Case]) -> dict[str, frozenset[str]] | None:
        """Return in which zones there are machines of each type."""

        def ask() -> dict[str, frozenset[str]]:
            zones: defaultdict[str, set[str]] = defaultdict(set)
            for one in self._filtered(
                "describe_instance_type_offerings", "InstanceTypeOfferings", "instance-type", _types_of(cases),
                LocationType="availability-zone",
            ):  # fmt: skip
                zones[one["InstanceType"]].add(one["Location"])
            return {name: frozenset(found) for name, found in zones.items()}

        return self._look("instance types", ask)

    def _described_images(self, cases: Iterable[Case]) -> dict[str, Raw]:
        ids = {case.image_id for case in cases if case.image_id}
        found = self._filtered("describe_images", "Images", "image-id", ids, IncludeDeprecated=True)
        return {one["ImageId"]: one for one in found}

    def _subnets(self, case: Case) -> list[Raw] | None:
        """Return the subnets that a group's machines go to, as far as EC2 has them."""
        machine = case.machine
        filters = [{"Name": "default-for-az", "Values": ["true"]}]
        if machine.subnets:
            filters = [{"Name": "subnet-id", "Values": list(machine.subnets)}]
        elif machine.zones:
            filters.append({"Name": "availability-zone", "Values": list(machine.zones)})
        pages = self._pages("describe_subnets", "find the subnets", Filters=filters)
        about = case.about("subnets")
        found = self._look(about, lambda: [one for page in pages for one in page["Subnets"]], needed=True)
        return found if found is None else sorted(found, key=lambda one: str(one["AvailabilityZone"]))

    # One group.

    def _security_groups(self, case: Case, vpcs: set[str]) -> None:
        def ask() -> dict[str, Raw]:
            ids = case.machine.security_groups
            found = self._filtered("describe_security_groups", "SecurityGroups", "group-id", ids)
            return {one["GroupId"]: one for one in found}

        groups = self._look(case.about("security groups"), ask)
        if groups is not None:
            self._findings.append(diagnoses.of_security_groups(case, groups, vpcs))

    def _key_pair(self, case: Case) -> None:
        def ask() -> set[str]:
            filters = [{"Name": "key-name", "Values": [case.machine.key_name]}]
            answer = self._caller.ask("ec2", "describe_key_pairs", "find the key pair", Filters=filters)
            return {one["KeyName"] for one in answer["KeyPairs"]}

        known = self._look(case.about("key pair"), ask)
        if known is not None:
            self._findings.append(diagnoses.of_key_pair(case, known))

    def _target_group(self, case: Case, target_group: str, vpcs: set[str]) -> None:
        def ask() -> list[Raw]:
            named = "TargetGroupArns" if target_group.startswith("arn:") else "Names"
            doing = f"find target group {name_of(target_group)}"
            try:
                answer = self._caller.ask("elbv2", "describe_target_groups", doing, **{named: [target_group]})
            except ProviderError as exc:
                if vendor_code(exc) not in _NO_TARGET_GROUP:
                    raise
                return []
            return list(answer["TargetGroups"])

        found = self._look(case.about(f"target group {name_of(target_group)}"), ask)
        if found is not None:
            self._findings.append(diagnoses.of_target_group(case, target_group, next(iter(found), None), vpcs))

    def _launches(
        self, case: Case, image: Raw, subnets: Sequence[Raw], offered: Mapping[str, frozenset[str]]
    ) -> Iterator[Finding]:
        """Rehearse a launch on each market, in one zone only: RunInstances has few tokens, and others use them."""
        type_ = case.machine.instance_types[0]
        where = next((one for one in subnets if one["AvailabilityZone"] in offered.get(type_, ())), subnets[0])
        site = Site(where["AvailabilityZone"], where["SubnetId"])
        on_demand = diagnoses.on_demand_of(case.count, case.machine.capacity)
        for market, spot, count in (("on demand", False, on_demand), ("spot", True, case.count - on_demand)):
            if not count:
                continue
            about = case.about("launch" if not spot else "launch (spot)")
            try:
                asked = rehearsals.launch(case, self._cluster, type_, site, image.get("RootDeviceName"), spot=spot)
            except ProviderError as exc:
                yield Finding(about, Grade.PROBLEM, said(exc), exc.hint or "")
                continue
            doing = f"launch {type_} in {site.zone} ({market})"
            yield rehearsals.rehearsed(self._caller, Kind.RUN, "run_instances", about, doing, asked)
        if mixes(case.machine):
            asked, about = rehearsals.template(case, self._cluster, type_), case.about("launch template")
            operation, doing = "create_launch_template", "make launch templates"
            yield rehearsals.rehearsed(self._caller, Kind.MUTATE, operation, about, doing, asked)
        if case.named and case.machine.data_disks:
            disk, about = case.machine.data_disks[0], case.about("data disks")
            asked, doing = rehearsals.data_disk(case, self._cluster, disk, site.zone), f"make data disk {disk.name}"
            yield rehearsals.rehearsed(self._caller, Kind.MUTATE, "create_volume", about, doing, asked)

    # The cluster as a whole.

    def _changes(self, present: Sequence[Raw] | None) -> Iterator[Finding]:
        """Rehearse what is done to machines that are there. EC2 rehearses it on real ones only."""
        if not present:
            if present is not None:
                yield Finding("tag and terminate", Grade.OK, "examined only once the cluster has a machine")
            return
        id_ = present[0]["InstanceId"]
        given = {"Resources": [id_], "Tags": [{"Key": tags.DRAINING, "Value": "0"}]}
        yield rehearsals.rehearsed(self._caller, Kind.TAG, "create_tags", "tag", f"tag {id_}", given)
        ids, doing = {"InstanceIds": [id_]}, f"terminate {id_}"
        yield rehearsals.rehearsed(self._caller, Kind.TERMINATE, "terminate_instances", "terminate", doing, ids)

    def _quotas(self, cases: Sequence[Case], types: Mapping[str, Raw]) -> Iterator[Finding]:
        for market, code, spot in _QUOTAS:
            wanted = diagnoses.standard_vcpus(cases, types, spot=spot)
            if not wanted:
                continue
            try:
                answer = self._caller.ask(
                    "service-quotas", "get_service_quota", "read the quota", ServiceCode="ec2", QuotaCode=code
                )
            except ProviderError as exc:
                yield unexamined(f"quota: {market} vCPUs", exc, f"{wanted} wanted; ")
            else:
                yield diagnoses.of_quota(market, code, wanted, float(answer["Quota"]["Value"]))

    # How it asks.

    def _look(self, about: str, ask: Callable[[], _Answer], *, needed: bool = False) -> _Answer | None:
        """Return an answer; or None, and a finding of why there is none. `needed`: machines need this call, too."""
        try:
            return ask()
        except ProviderError as exc:
            self._findings.append(unexamined(about, exc, needed=needed))
            return None

    def _pages(self, operation: str, doing: str, **parameters: Any) -> Iterator[Raw]:
        return self._caller.pages("ec2", operation, doing, **parameters)

    def _filtered(
        self, operation: str, key: str, name: str, values: Iterable[str], **parameters: Any
    ) -> Iterator[Raw]:
        """Yield what a filter lets through. Unlike ids, what is not there spoils nothing."""
        wanted = sorted(set(values))
        for begin in range(0, len(wanted), _VALUES_A_FILTER):
            filters = [{"Name": name, "Values": wanted[begin : begin + _VALUES_A_FILTER]}]
            for page in self._pages(operation, f"ask for {name}", Filters=filters, **parameters):
                yield from page[key]


def _types_of(cases: Iterable[Case]) -> set[str]:
    return {name for case in cases for name in case.machine.instance_types}


def unexamined(about: str, error: ProviderError, before: str = "", *, needed: bool = False) -> Finding:
    """Return the finding of what cannot be found out: a warning, unless machines fail for the same reason."""
    refused = vendor_code(error) in NOT_ALLOWED
    grade = Grade.PROBLEM if needed and not isinstance(error, Transient) else Grade.WARNING
    return Finding(about, grade, f"{before}cannot be examined: {said(error)}", WHAT_TO_ALLOW if refused else "")
