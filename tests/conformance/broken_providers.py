"""Providers that each break one sentence of the contract, as real ones have: what the suite must catch."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from infrakit_providers.simulated.cloud import Removal, SimCloud
from infrakit_py.errors import NotOurs, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image, Json
from infrakit_py.model.tags import CLUSTER, GROUP, TOKEN
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import DestroyRequest, Leftover, Outcome, Provider, ProvisionRequest, TagRequest


class Honest(Provider):
    """Hands everything on. The broken ones begin here; `cloud` is what they need to break in."""

    def __init__(self, inner: Provider, cloud: SimCloud) -> None:
        self.inner, self.cloud = inner, cloud
        self.limits, self.listing_lag_seconds, self.pace = inner.limits, inner.listing_lag_seconds, inner.pace

    def describe(self, cluster: str) -> Sequence[Instance]:
        return self.inner.describe(cluster)

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        return self.inner.lookup(instance_ids)

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision(requests)

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        return self.inner.destroy(requests)

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        return self.inner.tag(requests)

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        return self.inner.published(images)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self.inner.publish(image, progress)

    def publications(self) -> Sequence[Publication]:
        return self.inner.publications()

    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        return self.inner.unpublish(publications)

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return self.inner.zones(machine)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        return self.inner.leftovers(cluster)

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        return self.inner.sweep(cluster, leftovers)

    def watch(self, wake: Callable[[], None]) -> None:
        self.inner.watch(wake)

    def close(self) -> None:
        self.inner.close()


class WritesTagsLater(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        owners = [{key: one.tags[key] for key in (CLUSTER, GROUP, TOKEN)} for one in requests]
        outcomes = self.inner.provision(
            [replace(one, tags=owned) for one, owned in zip(requests, owners, strict=True)]
        )
        time.sleep(0.02)  # the second call's way over the network
        for request, outcome in zip(requests, outcomes, strict=True):
            if outcome.instance_id:
                self.inner.tag([TagRequest(outcome.instance_id, request.tags[CLUSTER], request.tags)])
        return outcomes


class MatchesPrefixes(Honest):
    def describe(self, cluster: str) -> Sequence[Instance]:
        found = {machine.tags.get(CLUSTER, "") for machine in self.cloud.machines()}
        return [one for name in found if name.startswith(cluster) for one in self.inner.describe(name)]


class MatchesAMissingKey(Honest):
    def describe(self, cluster: str) -> Sequence[Instance]:
        foreign = [InstanceId(one.id) for one in self.cloud.machines() if CLUSTER not in one.tags]
        return [*self.inner.describe(cluster), *filter(None, self.inner.lookup(foreign).values())]


class ShowsOneGroupOnly(Honest):
    def describe(self, cluster: str) -> Sequence[Instance]:
        return [one for one in self.inner.describe(cluster) if one.tags[GROUP] == "web"]


class HidesItsLag(Honest):
    def __init__(self, inner: Provider, cloud: SimCloud) -> None:
        super().__init__(inner, cloud)
        self.listing_lag_seconds = 0.0


class LooksUpInTheListing(Honest):
    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        listed = {machine.id for machine in self.cloud.machines()}
        return {id_: one if id_ in listed else None for id_, one in self.inner.lookup(instance_ids).items()}


class ForgetsTokens(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision([replace(one, token=str(uuid4())) for one in requests])


class RemembersTokensByItself(Honest):
    """In its memory, that is, where no other process sees them."""

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision([replace(one, token=f"{one.token}{id(self)}") for one in requests])


class TurnsOutcomesAround(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return list(reversed(self.inner.provision(requests)))


class TurnsEndsAround(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        return list(reversed(self.inner.destroy(requests)))


class RaisesForOne(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        outcomes = self.inner.provision(requests)
        return _raise_first(outcomes)


class LetsOneBadIdSpoilTheBatch(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        there = self.inner.lookup([one.instance_id for one in requests])
        if any(one and one.tags.get(CLUSTER) != requests[0].cluster for one in there.values()):
            return [Outcome(error=NotOurs("one of these is not ours"))] * len(requests)
        return self.inner.destroy(requests)


class DestroysWhatItIsTold(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        self.cloud.destroy([Removal(one.instance_id) for one in requests])
        return [Outcome(one.instance_id) for one in requests]


class DestroysAcrossGroups(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        there = self.inner.lookup([one.instance_id for one in requests])
        groups = [one.tags.get(GROUP, "") if (one := there.get(asked.instance_id)) else "" for asked in requests]
        return self.inner.destroy([replace(one, group=group) for one, group in zip(requests, groups, strict=True)])


class FailsForTheGone(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        there = self.inner.lookup([one.instance_id for one in requests])
        outcomes = self.inner.destroy(requests)
        return [
            outcome if there.get(asked.instance_id) else Outcome(error=ProviderError("no such instance"))
            for asked, outcome in zip(requests, outcomes, strict=True)
        ]


class OnlyClaimsToDestroy(Honest):
    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        return [Outcome(one.instance_id) for one in requests]


class AsciiTags(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision([replace(one, tags=_each_value(one.tags, _as_ascii)) for one in requests])


class ShortTags(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision(
            [replace(one, tags=_each_value(one.tags, lambda text: text[:255])) for one in requests]
        )


class ReplacesAllTags(Honest):
    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        there = self.inner.lookup([one.instance_id for one in requests])
        kept = (CLUSTER, GROUP)
        return self.inner.tag(
            [
                replace(one, remove_tags=tuple(key for key in was.tags if key not in kept))
                if (was := there.get(one.instance_id))
                else one
                for one in requests
            ]
        )


class TagsAnything(Honest):
    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        there = self.inner.lookup([one.instance_id for one in requests])
        owners = [one.tags.get(CLUSTER, "") if (one := there.get(asked.instance_id)) else "" for asked in requests]
        self.inner.tag([replace(one, cluster=owner) for one, owner in zip(requests, owners, strict=True)])
        return [Outcome(one.instance_id) for one in requests]


class RevivesTheDead(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        spent = {machine.token: machine.id for machine in self.cloud.everything()}
        return [
            Outcome(InstanceId(spent.get(asked.token, "i-dead"))) if isinstance(one.error, TokenSpent) else one
            for asked, one in zip(requests, self.inner.provision(requests), strict=True)
        ]


class MakesAnotherForOtherParameters(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return [
            self.inner.provision([replace(asked, token=str(uuid4()))])[0]
            if isinstance(one.error, TokenMismatch)
            else one
            for asked, one in zip(requests, self.inner.provision(requests), strict=True)
        ]


class ShowsUserData(Honest):
    def __init__(self, inner: Provider, cloud: SimCloud) -> None:
        super().__init__(inner, cloud)
        self.shown: dict[InstanceId, str] = {}

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        outcomes = self.inner.provision(requests)
        for asked, outcome in zip(requests, outcomes, strict=True):
            if outcome.instance_id and asked.user_data:
                self.shown[outcome.instance_id] = asked.user_data.decode()
        return outcomes

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = self.inner.lookup(instance_ids)
        return {
            id_: one and replace(one, facts={**one.facts, "user_data": self.shown.get(id_, "")})
            for id_, one in found.items()
        }


class TellsMilliseconds(Honest):
    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = self.inner.lookup(instance_ids)
        return {id_: one and replace(one, launched_at=one.launched_at * 1000) for id_, one in found.items()}


class CallsTheStoppedRunning(Honest):
    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = self.inner.lookup(instance_ids)
        return {
            id_: replace(one, state=InstanceState.RUNNING) if one and one.state is InstanceState.STOPPED else one
            for id_, one in found.items()
        }


class CallsEverythingPublished(Honest):
    def published(self, images: Sequence[Image]) -> frozenset[str]:
        return frozenset(image.identity for image in images)


class GivesAllOneDisk(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision([replace(one, data_key=one.data_key and "all") for one in requests])


class GivesEachMachineADisk(Honest):
    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self.inner.provision([replace(one, data_key=one.data_key and one.token) for one in requests])


class SweepsWhatIsUsed(Honest):
    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        self.inner.sweep(cluster, leftovers)
        return [Outcome() for _ in leftovers]


class OnlyClaimsToUnpublish(Honest):
    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        return [Outcome() for _ in publications]


class TakesAllForUnused(Honest):
    def publications(self) -> Sequence[Publication]:
        return [replace(one, in_use=False) for one in self.inner.publications()]


def _raise_first(outcomes: Iterable[Outcome]) -> Sequence[Outcome]:
    for outcome in (answered := list(outcomes)):
        if outcome.error:
            raise outcome.error
    return answered


def _each_value(tags: Mapping[str, str], change: Callable[[str], str]) -> dict[str, str]:
    return {key: change(value) for key, value in tags.items()}


def _as_ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
