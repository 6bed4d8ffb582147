"""One look at all that a cluster's machines need of a region: it asks, and hands what it learns to those who judge.

Whatever it cannot find out is a finding as well. Nothing is changed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from infrakit_providers.gcp import diagnoses, quotas, surroundings
from infrakit_providers.gcp.access import unexamined
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.catalogue import Catalogue
from infrakit_providers.gcp.diagnoses import Case, Quota, Shape
from infrakit_providers.gcp.images import Images, Picture, planned
from infrakit_providers.gcp.labels import filter_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.publish_settings import PublishSettings, must_be_published
from infrakit_providers.gcp.published import reference_of
from infrakit_providers.gcp.surroundings import BackendService, Subnetwork
from infrakit_providers.gcp.wire import Sighting, sighting
from infrakit_providers.gcp.zones import UP, Zones
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.spi.provider import Finding, Grade, Wanted

_ENOUGH_OF_A_MACHINE: Final = "nextPageToken,items/*/instances(name,zone,status,labels)"
_DEFAULT_NETWORK: Final = "default"
_Answer = TypeVar("_Answer")
_Shapes = Mapping[str, Mapping[str, Shape]]


class Examination:
    """One look at everything. What it finds goes to `findings` in order."""

    def __init__(
        self,
        caller: Caller,
        images: Images,
        zones: Zones,
        cluster: str,
        findings: list[Finding],
        publish: PublishSettings | None,
    ) -> None:
        self._caller = caller
        self._images = images
        self._zones = zones
        self._cluster = cluster
        self._findings = findings
        self._publish = publish
        self._catalogue = Catalogue(caller, zones.region)

    def run(self, wanted: Sequence[Wanted], statuses: Mapping[str, str] | None, everywhere: Sequence[Quota]) -> None:
        """Look. `statuses`: those of the region's zones, where known; `everywhere`: the project's own quotas."""
        there = self._there()
        cases = [self._case(one, there, statuses) for one in wanted]
        shapes = self._shapes(cases)
        anywhere = {name: shape for found in shapes.values() for name, shape in found.items()}
        disk_images = self._disk_images(cases)
        rooms: list[tuple[Case, Subnetwork]] = []
        for case in cases:
            self._machine(case, shapes, disk_images)
            if (subnetwork := self._network(case)) is not None:
                rooms.append((case, subnetwork))
            self._balanced(case)
        self._findings += surroundings.of_room(rooms)
        self._quotas(cases, anywhere, disk_images, everywhere)

    # What there is of a cluster, and of what all its groups name.

    def _there(self) -> Counter[str]:
        """Count the machines of each group that are there to stay."""

        def ask() -> list[Sighting]:
            doing = f"list the machines of {self._cluster}"
            pages = self._caller.pages(
                "instances", "aggregated_list", doing, fields=_ENOUGH_OF_A_MACHINE, filter=filter_of(self._cluster)
            )
            seen = (sighting(raw) for page in pages for scope in page.items.values() for raw in scope.instances)
            return [one for one in seen if tags.owned_by(one.tags, self._cluster)]

        found = self._look("machines", ask, needed=True)
        if found is None:
            return Counter()
        detail = f"cluster {self._cluster} has {diagnoses.machines(len(found))} here"
        self._findings.append(Finding("machines", Grade.OK, detail))
        return Counter(one.tags.get(tags.GROUP, "") for one in found if one.state is not InstanceState.LEAVING)

    def _case(self, wanted: Wanted, there: Mapping[str, int], statuses: Mapping[str, str] | None) -> Case:
        machine = Machine.model_validate(dict(wanted.machine))
        about = f"group {wanted.group}: zones"
        zones = self._look(about, lambda: self._zones.of(machine), needed=True) or ()
        if statuses is not None and zones:
            self._findings.append(diagnoses.of_zones(about, zones, statuses))
            zones = tuple(zone for zone in zones if statuses.get(zone) == UP)
        missing = max(0, wanted.count - there.get(wanted.group, 0))
        return Case(wanted.group, machine, self._image(wanted), zones, wanted.count, missing, wanted.named)

    def _image(self, wanted: Wanted) -> Picture | None:
        about, image = f"group {wanted.group}: image", wanted.image
        try:
            found = self._images.find(reference_of(image))
        except ProviderError as exc:
            self._findings.append(unexamined(about, exc, needed=True))
            return None
        if must_be_published(image):
            return found if found is not None and self._images.has(image) else planned(image, self._publish)
        if found is None:
            text = f"there is no image {self._images.link(reference_of(image))} for this account"
            hint = "write the path of one that machines may boot from"
            self._findings.append(Finding(about, Grade.PROBLEM, text, hint))
        return found

    def _disk_images(self, cases: Iterable[Case]) -> dict[str, Picture | None]:
        """Return what is known of the images of disks that are made with machines."""
        found: dict[str, Picture | None] = {}
        for reference in sorted({disk.image for case in cases for disk in case.machine.disks if disk.image}):
            try:
                found[reference] = self._images.find(reference)
            except ProviderError as exc:
                self._findings.append(unexamined(f"image {reference}", exc, needed=True))
        return found

    def _shapes(self, cases: Iterable[Case]) -> _Shapes:
        """Return the machine types that groups name, by zone. What could not be asked is left out."""
        wanted: dict[str, set[str]] = {}
        for case in cases:
            for zone in case.zones:
                wanted.setdefault(zone, set()).update(case.machine.machine_types)
        zones = sorted(wanted)
        answers = self._caller.each(lambda zone: self._catalogue.shapes(zone, wanted[zone]), zones)
        found: dict[str, Mapping[str, Shape]] = {}
        for zone, answer in zip(zones, answers, strict=True):
            if isinstance(answer, ProviderError):
                self._findings.append(unexamined(f"machine types of {zone}", answer))
            else:
                found[zone] = answer
        return found

    # One group.

    def _machine(self, case: Case, shapes: _Shapes, disk_images: Mapping[str, Picture | None]) -> None:
        """Examine what a machine is made of."""
        machine = case.machine
        if case.image is not None:
            anywhere = {name: shape for zone in case.zones for name, shape in shapes.get(zone, {}).items()}
            used = {one.image for one in machine.disks}
            theirs = {reference: found for reference, found in disk_images.items() if reference in used}
            self._findings.append(diagnoses.of_image(case, case.image, anywhere, theirs))
        if any(zone in shapes for zone in case.zones):
            self._findings.append(diagnoses.of_types(case, shapes))
        if machine.accelerators and case.zones:
            types = [one.type for one in machine.accelerators]
            most = self._look(case.about("accelerators"), lambda: self._catalogue.accelerators(case.zones, types))
            if most is not None:
                self._findings.append(diagnoses.of_accelerators(case, most))
        if machine.reservation is not None and case.zones:
            name = machine.reservation
            found = self._look(case.about("reservation"), lambda: self._catalogue.reservations(case.zones, name))
            if found is not None:
                self._findings.append(diagnoses.of_reservation(case, found))
        if machine.metadata:
            self._findings.append(diagnoses.of_metadata(case))

    def _network(self, case: Case) -> Subnetwork | None:
        """Examine where a group's machines have their interface; return the subnetwork, if one is known."""
        try:
            written = case.machine.subnetwork or self._automatic(case)
            found = self._catalogue.subnetwork(written) if written else None
        except ProviderError as exc:
            self._findings.append(unexamined(case.about("network"), exc))
            return None
        if written:
            self._findings.append(surroundings.of_subnetwork(case, written, found))
        return found

    def _automatic(self, case: Case) -> str:
        """Return the subnetwork that Compute Engine takes where none is written; nothing where it takes none."""
        written = case.machine.network or _DEFAULT_NETWORK
        network = self._catalogue.network(written)
        finding = surroundings.of_network(case, written, self._zones.region, network)
        if finding is None and network is not None:
            return network.subnetworks[self._zones.region]
        self._findings += [finding] if finding is not None else []
        return ""

    def _balanced(self, case: Case) -> None:
        """Examine what hands work to a group's machines."""
        services: dict[str, BackendService | None] = {}
        for name in case.machine.backend_services:
            try:
                services[name] = self._catalogue.backend_service(name)
            except ProviderError as exc:
                self._findings.append(unexamined(case.about(f"backend service {name}"), exc))
        self._findings += surroundings.of_backend_services(case, services)
        for name in case.machine.target_pools:
            there = self._look(case.about(f"target pool {name}"), partial(self._catalogue.has_target_pool, name))
            if there is not None:
                self._findings.append(
                    surroundings.of_target_pool(case, name, exists=there, region=self._zones.region)
                )

    # All groups together.

    def _quotas(
        self,
        cases: Sequence[Case],
        shapes: Mapping[str, Shape],
        disk_images: Mapping[str, Picture | None],
        everywhere: Sequence[Quota],
    ) -> None:
        if not any(case.missing for case in cases):
            return
        regional = self._look("quotas", self._catalogue.quotas)
        if regional is not None:
            needed = quotas.demands(cases, shapes, disk_images, regional)
            self._findings += quotas.of_quotas(needed, self._zones.region, regional, everywhere)

    def _look(self, about: str, ask: Callable[[], _Answer], *, needed: bool = False) -> _Answer | None:
        """Return an answer; or None, and a finding of why there is none. `needed`: machines need this call, too."""
        try:
            return ask()
        except ProviderError as exc:
            self._findings.append(unexamined(about, exc, needed=needed))
            return None
