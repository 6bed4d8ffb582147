"""A provider that could not be opened: its groups fail with the reason, and no other group does."""

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import (
    CallLimits,
    DestroyRequest,
    Leftover,
    Outcome,
    Provider,
    ProvisionRequest,
    TagRequest,
)


class Unreachable(Provider):
    """Raises, at every call, the error that opening ended in."""

    limits = CallLimits()
    listing_lag_seconds = 0.0

    def __init__(self, error: ProviderError) -> None:
        self._error = error

    def describe(self, cluster: str) -> Sequence[Instance]:
        self._fail(cluster)

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        self._fail(instance_ids)

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        self._fail(requests)

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        self._fail(requests)

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        self._fail(requests)

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        self._fail(images)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self._fail(image, progress)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        self._fail(cluster)

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        self._fail(cluster, leftovers)

    def watch(self, wake: Callable[[], None]) -> None:
        """There is nothing to hear."""

    def close(self) -> None:
        """There is nothing to close."""

    def _fail(self, *unheard: object) -> NoReturn:
        del unheard
        raise self._error
