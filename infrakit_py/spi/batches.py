"""Carrying out a batch one request at a time, for providers whose backend knows no batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.tags import CLUSTER, GROUP
from infrakit_py.spi.provider import Outcome

R = TypeVar("R")


def each(requests: Sequence[R], act: Callable[[R], str | None]) -> list[Outcome]:
    """Do each by itself and return its outcome: the id that `act` returns, or the ProviderError that it raises."""
    outcomes = []
    for request in requests:
        try:
            id_ = act(request)
        except ProviderError as error:
            outcomes.append(Outcome(error=error))
        else:
            outcomes.append(Outcome(InstanceId(id_) if id_ is not None else None))
    return outcomes


def insist_ours(id_: str, tags: Mapping[str, str], cluster: str, group: str | None = None) -> None:
    """Raise NotOurs unless an instance's tags say that it belongs to the cluster (and group)."""
    if tags.get(CLUSTER) != cluster or (group is not None and tags.get(GROUP) != group):
        raise NotOurs(f"{id_} does not belong to {cluster}" + (f"/{group}" if group is not None else ""))
