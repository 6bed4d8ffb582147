"""What the conformance suite needs to know about a provider and its backend, and how it speaks to both.

Whatever a backend cannot do is left out (None, False), and the tests that need it are skipped, each saying why.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Barrier
from types import TracebackType
from typing import Self, TypeVar
from unittest import SkipTest

from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import DestroyRequest, Now, Outcome, Provider, ProviderPlugin, ProvisionRequest

Result = TypeVar("Result")
Wanted = TypeVar("Wanted")

THREADS = 8


@dataclass(kw_only=True)
class ConformanceTarget:
    """A provider under test. Use it as a context manager: leaving it destroys what the suite made, and closes.

    `image` must be bootable already, or can be made so by `publish`. `within_seconds` is how long an accepted change
    may take to show, by the target's clock. The suite makes machines in clusters of its own and touches no others.
    """

    provider: Provider
    open_another: Callable[[], Provider]
    """Open a second provider on the same backend, as another process would."""
    machine: Mapping[str, Json]
    image: Image
    clock: Now
    unknown_id: InstanceId
    """An id of the backend's form that no machine ever had."""
    within_seconds: float = 60.0
    poll_seconds: float = 0.05
    plugin: ProviderPlugin | None = None
    other_machine: Mapping[str, Json] | None = None
    """Another valid machine mapping, for the same token with other parameters."""
    machine_with_disk: Mapping[str, Json] | None = None
    """A machine that asks for a data disk. None: the provider has no data disks."""
    new_image: Callable[[], Image] | None = None
    """Make an image that is not published yet. None: the provider only knows references."""
    remembers_tokens: bool = False
    """The token of a machine that is gone is refused with TokenSpent."""
    minds_parameters: bool = False
    """A known token with other parameters is refused with TokenMismatch."""
    stop: Callable[[InstanceId], None] | None = None
    """Stop a machine from outside, as a crash would."""
    make_foreign: Callable[[], InstanceId] | None = None
    """Make a machine by other means, without our tags."""
    all_tags: Callable[[], Iterable[Mapping[str, str]]] | None = None
    """Return the tags of every machine at the backend, whosever it is, past any lag of listings."""
    lose_reply: Callable[[], None] | None = None
    """Let the next `provision` do its work and then fail, as when the connection breaks."""
    cut_short: Callable[[], None] | None = None
    """Let the next `provision` stop half-way, as when the process is killed."""
    _clusters: list[str] = field(default_factory=list)
    _tickets: dict[str, str] = field(default_factory=dict)
    _opened: list[Provider] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._opened.append(self.provider)
        if self.image.identity not in self.provider.published([self.image]):
            self.provider.publish(self.image, unobserved)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.clean_up()
        finally:
            for provider in self._opened:
                provider.close()

    def clean_up(self) -> None:
        """Destroy the machines of the suite's clusters, and their leftovers."""
        self.clock.sleep(self.provider.listing_lag_seconds)
        for cluster in self._clusters:
            self.destroy(one for one in self.listed(cluster) if tags.owned_by(one.tags, cluster))
        self.eventually(lambda: not any(self.listed(cluster) for cluster in self._clusters))
        for cluster in self._clusters:
            disks = [leftover for leftover in self.provider.leftovers(cluster) if leftover.holds_data]
            self.provider.sweep(cluster, disks)

    def another(self) -> Provider:
        """Open a second provider, closed with the target."""
        self._opened.append(self.open_another())
        return self._opened[-1]

    def new_cluster(self, name: str = "{}") -> str:
        """Return the name of a cluster that nobody else uses; `{}` in `name` is what makes it unique."""
        self._clusters.append(name.format(f"c{secrets.token_hex(4)}"))
        return self._clusters[-1]

    def request(self, cluster: str, slot: int = 0, *, group: str = "web", incarnation: int = 0) -> ProvisionRequest:
        """Return a request as the engine makes them."""
        token = tags.token(cluster, group, str(slot), incarnation)
        owned = {
            tags.CLUSTER: cluster,
            tags.GROUP: group,
            tags.SLOT: str(slot),
            tags.INCARNATION: str(incarnation),
            tags.TOKEN: token,
            tags.CONFIG_HASH: "v1-" + "0123456789" * 4,
            tags.IMAGE: self.image.identity,
            tags.REVISION: "1",
        }
        return ProvisionRequest(token, f"{group}-{slot}", owned, self.image, self.machine)

    def named_request(self, cluster: str, name: str, *, incarnation: int = 0) -> ProvisionRequest:
        """Return a request for a named machine that keeps a data disk."""
        machine = self.needs(self.machine_with_disk, "has no data disks")
        request = self.request(cluster, group="db", incarnation=incarnation)
        token = tags.token(cluster, "db", name, incarnation)
        named = {**request.tags, tags.SLOT: name, tags.LOGICAL_ID: name, tags.TOKEN: token}
        return replace(request, token=token, name=name, tags=named, machine=machine, data_key=name)

    def provision(self, requests: Sequence[ProvisionRequest], provider: Provider | None = None) -> list[Outcome]:
        """Provision in batches as large as the provider takes them."""
        used, size = provider or self.provider, self.provider.limits.provision_batch
        batches = [requests[at : at + size] for at in range(0, len(requests), size)]
        outcomes = [outcome for batch in batches for outcome in used.provision(self.ticketed(batch, used))]
        for request, outcome in zip(requests, outcomes, strict=True):
            if outcome.error is not None and outcome.error.refused:
                self._tickets.pop(request.token, None)
        return outcomes

    def ticketed(
        self, requests: Sequence[ProvisionRequest], provider: Provider | None = None
    ) -> list[ProvisionRequest]:
        """Give requests their tickets as the engine does: those that were written down, or else new ones."""
        new = [request for request in requests if request.token not in self._tickets]
        tickets = (provider or self.provider).arrange(new) if new else ()
        self._tickets |= {request.token: ticket for request, ticket in zip(new, tickets, strict=True)}
        return [replace(request, ticket=self._tickets[request.token]) for request in requests]

    def boot(self, *requests: ProvisionRequest) -> list[InstanceId]:
        """Provision, insist that all are accepted, and return their ids."""
        ids = []
        for request, outcome in zip(requests, self.provision(requests), strict=True):
            assert outcome.error is None, f"provision refused a valid request ({request.name}): {outcome.error!r}"
            assert outcome.instance_id, f"provision accepted {request.name} but named no instance"
            ids.append(outcome.instance_id)
        return ids

    def destroy(self, instances: Iterable[Instance], provider: Provider | None = None) -> list[Outcome]:
        """Destroy instances as what their tags say they are."""
        requests = [DestroyRequest(one.id, one.tags[tags.CLUSTER], one.tags[tags.GROUP]) for one in instances]
        return self.destroy_each(requests, provider)

    def destroy_each(self, requests: Sequence[DestroyRequest], provider: Provider | None = None) -> list[Outcome]:
        """Destroy in batches as large as the provider takes them."""
        used, size = provider or self.provider, self.provider.limits.destroy_batch
        batches = [requests[at : at + size] for at in range(0, len(requests), size)]
        return [outcome for batch in batches for outcome in used.destroy(batch)]

    def listed(self, cluster: str, provider: Provider | None = None) -> list[Instance]:
        """Return what a listing shows of a cluster, without what is gone."""
        found = (provider or self.provider).describe(cluster)
        return [instance for instance in found if instance.state is not InstanceState.GONE]

    def instance(self, instance_id: InstanceId) -> Instance | None:
        """Look an instance up; None if it is gone, or if the provider cannot tell."""
        found = self.provider.lookup([instance_id]).get(instance_id)
        return found if found and found.state is not InstanceState.GONE else None

    def eventually(self, condition: Callable[[], bool], within: float | None = None) -> bool:
        """Wait until a condition holds; tell whether it came to that."""
        deadline = self.clock.now() + (self.within_seconds if within is None else within)
        while not condition():
            if self.clock.now() >= deadline:
                return False
            self.clock.sleep(self.poll_seconds)
        return True

    def needs(self, wanted: Wanted | None, lack: str) -> Wanted:
        """Return what a test cannot do without, or skip the test."""
        if wanted is None:
            raise SkipTest(f"the target {lack}")
        return wanted


def unobserved(done: int, total: int) -> None:
    """Take the progress of a publication, for who does not care."""
    del done, total


def together(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make calls at the same moment, each in a thread of its own. Return their results in order."""
    start = Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
