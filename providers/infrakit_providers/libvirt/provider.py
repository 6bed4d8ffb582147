"""The calls: machines as persistent libvirt domains, at one hypervisor.

A domain is defined first, tags and all, then its volumes are made, then it is started; it is destroyed in the
opposite order, its definition last. So a crash anywhere leaves a tagged domain behind that `describe` shows, and
repeating the call finishes what was begun.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from zlib import crc32

from infrakit_providers.libvirt import domains, images, leftovers, publications, wire
from infrakit_providers.libvirt.connection import Lines
from infrakit_providers.libvirt.faults import translating
from infrakit_providers.libvirt.launching import Launch, has_output
from infrakit_providers.libvirt.settings import Settings
from infrakit_providers.libvirt.storage import Pool
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import (
    CallLimits,
    DestroyRequest,
    Leftover,
    Outcome,
    Pace,
    Provider,
    ProviderContext,
    ProvisionRequest,
    TagRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libvirt import virConnect, virDomain

ADDRESS_EXPECTED_SECONDS: Final = 45.0
_SPARE_LINES: Final = 2
_NAME_LOCKS: Final = 64
_SHUTOFF: Final = 5

Request = TypeVar("Request", ProvisionRequest, DestroyRequest, TagRequest, Leftover, Publication)


class LibvirtProvider(Provider):
    """One hypervisor."""

    listing_lag_seconds = 0.0
    pace = Pace(boot_seconds=10, gone_seconds=1)

    def __init__(self, settings: Settings, context: ProviderContext) -> None:
        """Connect. Raise ProviderError with a hint where that cannot work."""
        self.limits = CallLimits(parallel_calls=settings.parallel_calls)
        self._settings = settings
        self._clock = context.clock
        self._disks = context.disks
        self._wakes: tuple[Callable[[], None], ...] = ()
        self._locks = [threading.Lock() for _ in range(_NAME_LOCKS)]
        calls = settings.parallel_calls + _SPARE_LINES
        self._lines = Lines(settings.uri, calls, settings.open_timeout, self._wake)
        try:
            with self._calling("find the storage pool") as connection:
                self._pool(connection)
        except BaseException:
            self.close()
            raise

    def describe(self, cluster: str) -> Sequence[Instance]:
        with self._calling(f"list the machines of {cluster}") as connection:
            owned = list(domains.owned(connection, cluster))
            leases = self._leases(connection, [own for _, own in owned])
            described = (self._instance(connection, domain, own, leases) for domain, own in owned)
            return [instance for instance in described if instance is not None]

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found: dict[InstanceId, Instance | None] = {}
        with self._calling("look machines up") as connection:
            for instance_id in instance_ids:
                domain = domains.by_uuid(connection, instance_id)
                own = domains.read(domain) if domain is not None else None
                if domain is None:
                    found[instance_id] = None
                elif own is None:  # somebody else's, or no longer ours
                    found[instance_id] = Instance(instance_id, {}, InstanceState.RUNNING, launched_at=0.0)
                else:
                    found[instance_id] = self._instance(connection, domain, own, self._leases(connection, [own]))
        return found

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return _each(requests, self._provision)

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        return _each(requests, self._destroy)

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        return _each(requests, self._tag)

    def published(self, images_: Sequence[Image]) -> frozenset[str]:
        with self._calling("look for images") as connection:
            pool = self._pool(connection)
            missing = {image.identity for image in images_ if not images.is_published(pool, image)}
            return frozenset(image.identity for image in images_) - missing  # one may be wanted in several ways

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        if self.published([image]):
            if image.files:
                progress(image.size, image.size)
            return
        files = images.files_to_publish(image, self._disks)  # making a disk takes its time: no connection is held
        with self._calling(f"publish image {image.name}") as connection:
            images.publish(self._pool(connection), image, files, progress)

    def publications(self) -> Sequence[Publication]:
        with self._calling("look for images") as connection:
            return publications.published(connection, self._pool(connection))

    def unpublish(self, publications_: Sequence[Publication]) -> Sequence[Outcome]:
        def delete(publication: Publication) -> Outcome:
            with self._calling(f"delete {publication.name}") as connection:
                publications.unpublish(connection, self._pool(connection), publication.id)
                return Outcome()

        return _each(publications_, delete)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        with self._calling(f"look for what {cluster} left behind") as connection:
            return leftovers.found(connection, self._pool(connection), cluster)

    def sweep(self, cluster: str, leftovers_: Sequence[Leftover]) -> Sequence[Outcome]:
        def delete(leftover: Leftover) -> Outcome:
            with self._calling(f"delete {leftover.name}") as connection:
                leftovers.delete(connection, self._pool(connection), cluster, leftover)
                return Outcome()

        return _each(leftovers_, delete)

    def watch(self, wake: Callable[[], None]) -> None:
        self._wakes = (*self._wakes, wake)

    def close(self) -> None:
        self._wakes = ()
        self._lines.close()

    def _provision(self, request: ProvisionRequest) -> Outcome:
        launch = Launch(request, self._settings, self._clock)
        with self._holding(launch.name), self._calling(f"boot {launch.name}") as connection:
            return Outcome(InstanceId(launch.finish(connection, partial(self._pool, connection))))

    def _destroy(self, request: DestroyRequest) -> Outcome:
        done = Outcome(request.instance_id)
        with self._calling(f"find {request.instance_id}") as connection:
            domain = domains.by_uuid(connection, request.instance_id)
            name = domain.name() if domain is not None else ""
        if not name:
            return done
        with self._holding(name), self._calling(f"destroy {name}") as connection:
            domain = domains.by_uuid(connection, request.instance_id)
            if domain is None:
                return done
            own = domains.require_ours(domains.read(domain), request.instance_id, request.cluster, request.group)
            domains.stop(domain)
            self._pool(connection, own.record.pool).delete_own(own.name)
            domains.undefine(domain)
            return done

    def _tag(self, request: TagRequest) -> Outcome:
        with self._holding(request.instance_id), self._calling(f"tag {request.instance_id}") as connection:
            domain = domains.by_uuid(connection, request.instance_id)
            if domain is None:
                raise ProviderError(f"libvirt: no domain {request.instance_id} to tag")
            own = domains.require_ours(domains.read(domain), request.instance_id, request.cluster, request.group)
            wanted = wire.retagged(own.record, request.set_tags, request.remove_tags)
            if wanted != own.record:
                domains.write_record(domain, wanted)
            return Outcome(request.instance_id)

    def _instance(
        self,
        connection: "virConnect",
        domain: "virDomain",
        own: wire.OwnDomain,
        leases: Mapping[str, tuple[str, ...]],
    ) -> Instance | None:
        """Return the machine as it is now, None if it just went away."""
        code = domains.state(domain)
        if code is None:
            return None
        was_started = own.started or code[0] != _SHUTOFF or self._ran(connection, own)
        state, detail = wire.instance_state(*code, was_started=was_started)
        running = state is InstanceState.RUNNING
        addresses = tuple(address for mac in own.macs for address in leases.get(mac, ())) if running else ()
        if running and not addresses and not detail:
            detail = self._why_no_address(own)
        return Instance(
            id=InstanceId(own.uuid),
            tags=own.record.tags,
            state=state,
            launched_at=own.record.created,
            addresses=addresses,
            detail=detail,
            facts={"domain": own.name, "host": self._settings.uri.split("?")[0], "console log": own.console_log},
            impaired=wire.impairment(*code),
            host=self._lines.host,
        )

    def _ran(self, connection: "virConnect", own: wire.OwnDomain) -> bool:
        return has_output(self._pool(connection, own.record.pool), own.name)

    def _why_no_address(self, own: wire.OwnDomain) -> str:
        waited = self._clock.now() - own.record.created
        if waited < ADDRESS_EXPECTED_SECONDS:
            return ""
        other = "qemu" if own.virt_type == "kvm" else "kvm"
        return (
            f"running for {waited:.0f} s without an address: see {own.console_log}"
            f" (if it is empty the guest never got going, and virt_type: {other} may work)"
        )

    def _leases(self, connection: "virConnect", owned: Sequence[wire.OwnDomain]) -> Mapping[str, tuple[str, ...]]:
        return domains.leases(connection, sorted({network for own in owned for network in own.networks}))

    def _pool(self, connection: "virConnect", name: str = "") -> Pool:
        keeps_content = self._settings.virt_type != "test"
        return Pool(connection, name or self._settings.pool, self._clock, keeps_content=keeps_content)

    @contextmanager
    def _calling(self, doing: str) -> "Iterator[virConnect]":
        with self._lines.borrow() as connection, translating(doing):
            yield connection

    @contextmanager
    def _holding(self, name: str) -> "Iterator[None]":
        """Let one thread at a time change a domain. Between processes the domain's name and UUID are the lock."""
        with self._locks[crc32(name.encode()) % _NAME_LOCKS]:
            yield

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()


def _each(requests: Sequence[Request], do: Callable[[Request], Outcome]) -> list[Outcome]:
    outcomes = []
    for request in requests:
        try:
            outcomes.append(do(request))
        except ProviderError as exc:
            outcomes.append(Outcome(error=exc))
    return outcomes
