"""What a provider must be: reports, boots and destroys instances. Synchronous, batched, level-triggered.

A provider decides nothing: which machine, when and why is the policies' business. It never waits for a
machine to come up, keeps no thread of its own for that, and may be called from several threads at once.
Errors that may leave any call are `infrakit_py.errors.ProviderError` and its subclasses.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import HealthCheck, Image, ImageForm, Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.images import Disks, NoDisks, Publication


@dataclass(frozen=True, slots=True)
class ProvisionRequest:
    """One machine to boot.

    `tags` are complete and go into the creating call itself: a machine without them would be lost by a crash.
    `token` (a UUID, also among the tags) makes the request idempotent. `name` is a host name, unique in its
    group. `machine` is what the user wrote, valid by the plugin's `machine` model. A machine with a `data_key`
    finds the data disk of its predecessor of that cluster, group and key, if it asks for one at all; while
    that predecessor still holds it, the request ends in Transient. `ticket` is what the provider arranged for it.
    """

    token: str
    name: str
    tags: Mapping[str, str]
    image: Image
    machine: Mapping[str, Json]
    user_data: bytes | None = field(default=None, repr=False)
    data_key: str | None = None
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class DestroyRequest:
    """One machine to destroy, with the cluster and group that it must belong to."""

    instance_id: InstanceId
    cluster: str
    group: str


@dataclass(frozen=True, slots=True)
class TagRequest:
    """Tags to set and keys to remove on one machine of a cluster, and of a group where one is named."""

    instance_id: InstanceId
    cluster: str
    set_tags: Mapping[str, str]
    remove_tags: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request of a batch, in the requests' order. No error: accepted."""

    instance_id: InstanceId | None = None
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of a cluster's that outlives its machines: a data disk, a published image that nobody uses."""

    id: str
    kind: str
    name: str
    group: str = ""
    holds_data: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket as providers publish theirs: it holds `burst` tokens and gains `per_second`."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class CallRates:
    """What one kind of call may use up: tokens for each call, and tokens for each machine in it. None: no limit."""

    calls: Rate | None = None
    machines: Rate | None = None


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How the engine shall shape its calls: requests a call at most, calls at once, and how many in the long run."""

    provision_batch: int = 1
    destroy_batch: int = 1
    tag_batch: int = 1
    parallel_calls: int = 4
    provision: CallRates = CallRates()
    destroy: CallRates = CallRates()
    tag: CallRates = CallRates()


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things usually take here, in seconds: what estimates are made from.

    `boot_seconds`: from the accepted request to a machine that runs. `gone_seconds`: from the accepted request until
    a destroyed machine is gone. `listed_seconds`: until a new machine shows in listings. `call_seconds`: for one
    call that changes something.
    """

    boot_seconds: float = 30.0
    gone_seconds: float = 0.0
    listed_seconds: float = 0.0
    call_seconds: float = 0.0


class Provider(Protocol):
    """An opened provider. Every call may come again, at any time, from any thread.

    A class that inherits from this one explicitly boots only images that its backend already has, has nothing
    that outlives its machines, no events and nothing to close, unless it says otherwise.
    """

    limits: CallLimits = CallLimits()
    pace: Pace = Pace()
    listing_lag_seconds: float = 0.0
    """How long an accepted instance may be missing from `describe`; 0 where listings are exact."""
    account: str = ""
    """All that the vendor counts its limits by: providers that share it share them. Empty: this one alone."""

    def describe(self, cluster: str) -> Sequence[Instance]:
        """Return every instance of the cluster, of all groups, told apart by the ownership tags alone.

        An instance without the cluster's tag is never returned. Destroyed instances may be (as GONE).
        Raise IncompleteView rather than leave out what could not be asked.
        """
        ...

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        """Ask for instances by id, past any lag of listings.

        None means gone for certain, or never there; an id that is missing from the answer means: cannot
        tell. Whose an instance is does not matter here.
        """
        ...

    def arrange(self, requests: Sequence[ProvisionRequest]) -> Sequence[str]:
        """Decide all about these creations that is the provider's to decide, and return a ticket for each.

        The engine writes the tickets down before it provisions, and gives them back with every repetition of a
        request, even from another process; so what must not differ then (a zone, who is made by one call) goes into
        them. A request whose creation ended in a refusal is arranged anew. Nothing is changed outside. Empty tickets
        are for providers to which it does not matter.
        """
        return [""] * len(requests)

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        """Begin to boot machines and return once they are accepted, one outcome a request, in order.

        The same token again gives the same instance (also from several processes at once, and finishing
        what a crash cut short), TokenMismatch where its parameters (machine, image, user data) differ and
        the provider minds, or TokenSpent where that instance is gone and the provider remembers; while it is
        LEAVING it still is that instance. Calls at once with one token may end in a retryable error, never in
        two instances. One request's failure never
        spoils another's. Nothing untagged is ever left behind, however the process ends. A machine that is there and
        lacks something of its own (`Instance.lacks`) gets it.
        """
        ...

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        """Destroy machines and all that is theirs alone, but not their data disks.

        The ownership tags are checked just before: NotOurs otherwise. An instance that is gone already, or
        was never there, is a success. One request's failure never spoils another's.
        """
        ...

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        """Set and remove tags. Idempotent. NotOurs for somebody else's instance, ProviderError for none.

        An instance that is given the tag `infrakit.draining` is first taken out of the load balancers that it is
        behind; until they have let it go it says so (`Instance.awaits`).
        """
        ...

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        """Return the identities of those images that machines can boot from right now."""
        return frozenset(image.identity for image in images if image.form is ImageForm.REFERENCE)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        """Make an image bootable, calling `progress(bytes done, bytes in all)` now and then.

        Idempotent, also under concurrency; after a crash half-way the image is not `published`, and a
        repetition goes on from there and leaves nothing behind that is not used. A provider that boots disks makes
        them by `ProviderContext.disks`.
        """
        del progress
        if image.identity not in self.published([image]):
            raise ProviderError(f"image {image.name}: only images that are already there can be booted here")

    def publications(self) -> Sequence[Publication]:
        """Return all images that were published here, by whichever cluster; of references none."""
        return ()

    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        """Delete publications, whole or cut short, but none that any machine (of any cluster) was made from.

        Idempotent. One that is in use ends in a ProviderError. One outcome each, in order.
        """
        return [Outcome() for _ in publications]

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the zones that such machines are spread over; none where there are none, or nobody knows. Pure."""
        del machine
        return ()

    def drains(self, machine: Mapping[str, Json]) -> bool:
        """Tell whether such machines serve behind something of the provider's that must let them go first. Pure."""
        del machine
        return False

    def resolve(self, reference: str) -> str:
        """Return the lasting name of the image that a reference points to now; ImageMissing where it is none."""
        return reference

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        """Return what would remain of the cluster once its machines are gone."""
        del cluster
        return ()

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        """Delete leftovers, but nothing that any machine (of any cluster) still uses. Idempotent."""
        del cluster
        return [Outcome() for _ in leftovers]

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` from any thread whenever instances may have changed. Losing events costs delay only.

        A provider without events does nothing.
        """
        del wake

    def close(self) -> None:
        """Release connections and threads. No call comes after it."""
        return


@runtime_checkable
class Probing(Protocol):
    """A provider that answers health checks itself, because its machines cannot be reached from here."""

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        """Return None for a healthy answer, else why not. Raise ProviderError where the check cannot run."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A provider that was told what machines cost: `currency` as in ISO 4217, `source` says by whom.

    An empty `source` means that it was told nothing.
    """

    currency: str
    source: str

    def price_of_machines(self, machine: Mapping[str, Json], count: int) -> float | None:
        """Return what a group of such machines costs an hour when all is made as preferred. None: not known. Pure."""
        ...

    def price_of(self, instance: Instance) -> float | None:
        """Return what an instance costs an hour. None: not known. Pure."""
        ...


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined: what, how it stands, and what to do about it where it does not stand well."""

    about: str
    grade: Grade
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Machines of a kind that a spec wants, for an examination. `count` of them, beside those of other kinds."""

    group: str
    machine: Mapping[str, Json]
    image: Image
    count: int
    named: bool


@runtime_checkable
class Examining(Protocol):
    """A provider that can tell, without changing anything, whether what a spec wants would work."""

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Return what was found, good and bad. What cannot be found out is a finding, too. Changes nothing."""
        ...


@runtime_checkable
class Rehearsing(Protocol):
    """A provider on which a change may be rehearsed: it takes over machines that exist elsewhere, and has accidents.

    `mishaps` names what `mishap` knows, each with a line of help.
    """

    mishaps: Mapping[str, str]

    def adopt(self, instances: Sequence[Instance], *, healthy: Mapping[InstanceId, bool]) -> None:
        """Make machines with the same ids, tags, states, zones and launch times, as if they had been made here."""
        ...

    def mishap(self, kind: str, amount: float, target: str) -> None:
        """Let something go wrong from now on. ProviderError for a kind that is not among `mishaps`."""
        ...


class Now(Protocol):
    """The part of the clock that plugins need."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a plugin gets besides its settings: the clock, where relative paths in the spec start, and disks."""

    clock: Now
    directory: Path
    disks: Disks = field(default_factory=NoDisks)


@dataclass(frozen=True, slots=True)
class MachineReview:
    """What a plugin looks at to find mistakes that its models cannot see. No call is made for it."""

    settings: Mapping[str, Json]
    machine: Mapping[str, Json]
    image: Image | None
    named: bool


class ProviderPlugin(Protocol):
    """The object behind an entry point of group `infrakit.providers`. Importing it must not import the SDK."""

    summary: str
    """One line for `infra plugins`."""
    settings: type[BaseModel]
    """Model of the provider's mapping in the spec, without `plugin`."""
    machine: type[BaseModel]
    """Model of a group's `machine` mapping. Unknown keys must be refused."""

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        """Return mistakes in a group's machine mapping. Pure. None, unless a plugin says otherwise."""
        del review
        return ()

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        """Connect. Raise ProviderError with a hint where that cannot work."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A provider plugin that does something to machines that their owner should know, and says why."""

    def remarks(self, review: MachineReview) -> Iterable[str]:
        """Return what a plan shall say about a group's machines, one line each. Pure."""
        ...


@runtime_checkable
class Pointing(Protocol):
    """A provider plugin that knows references which only point to an image; its provider resolves them."""

    def points(self, reference: str) -> bool:
        """Tell whether a reference only points to an image, and must be resolved. Pure."""
        ...


@runtime_checkable
class Permitting(Protocol):
    """A provider plugin that knows which permissions a spec needs."""

    def permissions(self, cluster: str, settings: Mapping[str, Json], wanted: Sequence[Wanted]) -> str:
        """Return the least permissions, in the form in which the vendor takes them. Pure."""
        ...
