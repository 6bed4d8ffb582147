"""Tags of machines that are there: setLabels, and setMetadata for what does not fit into labels."""

from collections.abc import Mapping, Sequence
from typing import Final

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere, Outdated
from infrakit_providers.gcp.operations import Operation
from infrakit_providers.gcp.owned import Coming, found, require_ours
from infrakit_providers.gcp.wire import Sighting
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import Outcome, TagRequest

_FINISH_SECONDS: Final = 20.0
_ATTEMPTS: Final = 3
"""So often somebody else may change the same machine's labels meanwhile."""
_OF_ITS_OWN: Final = (tags.SLOT, tags.INCARNATION, tags.TOKEN)


class Tagger:
    """Sets and removes tags."""

    def __init__(self, caller: Caller, balancers: Balancers, may_come: Coming) -> None:
        self._caller = caller
        self._balancers = balancers
        self._may_come = may_come

    def tag(self, requests: Sequence[TagRequest]) -> list[Outcome]:
        """Change tags, and return an outcome for each request. What was changed is seen by listings from then on."""
        known = found(self._caller, [request.instance_id for request in requests])
        coming = self._may_come(one.instance_id for one in requests if one.instance_id not in known)
        errors: dict[int, ProviderError] = {}
        todo: dict[int, Sighting] = {}
        leaving: dict[InstanceId, tuple[str, ...]] = {}
        for at, request in enumerate(requests):
            seen = known.get(request.instance_id)
            try:
                if seen is None and request.instance_id in coming:
                    raise Transient(f"gcp: {request.instance_id} is still being made")
                if seen is None:
                    raise ProviderError(f"gcp: there is no instance {request.instance_id} to tag")
                require_ours(seen, request.cluster, request.group)
            except ProviderError as exc:
                errors[at] = exc
                continue
            todo[at] = seen
            if tags.DRAINING in request.set_tags and (groups := self._balancers.behind(seen.labels)):
                leaving[seen.id] = groups
        if leaving:
            unreleased = self._balancers.deregister(leaving)
            errors |= {at: unreleased[seen.id] for at, seen in todo.items() if seen.id in unreleased}
        left = [at for at in todo if at not in errors]
        changed = self._caller.each(lambda at: self._change(requests[at], todo[at]), left)
        errors |= {at: error for at, error in zip(left, changed, strict=True) if isinstance(error, ProviderError)}
        return [Outcome(request.instance_id, errors.get(at)) for at, request in enumerate(requests)]

    def _change(self, request: TagRequest, seen: Sighting) -> None:
        """Change one machine's tags. The metadata first: until a label names it, what it holds means nothing."""
        for attempt in range(_ATTEMPTS):
            changed = _changed(seen, request)
            if changed.labels == seen.labels:
                return
            try:
                if changed.labels.get(labels.MORE) != seen.labels.get(labels.MORE) and changed.more:
                    self._write_more(seen, changed.more)
                self._write_labels(seen, changed.labels)
            except Outdated:
                again = found(self._caller, [seen.id]).get(seen.id)
                if again is None or attempt == _ATTEMPTS - 1:
                    raise
                seen = again
            except NotThere as exc:
                raise ProviderError(f"gcp: there is no instance {seen.id} to tag any more") from exc
            else:
                return

    def _write_labels(self, seen: Sighting, wanted: Mapping[str, str]) -> None:
        doing = f"tag {seen.id}"
        body = {"labels": dict(wanted), "label_fingerprint": seen.label_fingerprint}
        operation = self._caller.act(
            "instances",
            "set_labels",
            doing,
            zone=seen.zone,
            instance=seen.name,
            instances_set_labels_request_resource=body,
        )
        self._finish(operation, doing)

    def _write_more(self, seen: Sighting, more: Mapping[str, Mapping[str, str]]) -> None:
        doing = f"tag {seen.id}"
        raw = self._caller.ask("instances", "get", doing, zone=seen.zone, instance=seen.name)
        items = {one.key: one.value for one in raw.metadata.items}
        kept = labels.read_item(items.get(labels.ITEM, ""))
        current = seen.labels.get(labels.MORE, "")
        still_named = {current: kept[current]} if current in kept else {}
        items[labels.ITEM] = labels.item({**still_named, **more})
        body = {
            "items": [{"key": key, "value": value} for key, value in items.items()],
            "fingerprint": raw.metadata.fingerprint,
        }
        operation = self._caller.act(
            "instances", "set_metadata", doing, zone=seen.zone, instance=seen.name, metadata_resource=body
        )
        self._finish(operation, doing)

    def _finish(self, operation: Operation, doing: str) -> None:
        self._caller.finish(operation, doing, within_seconds=_FINISH_SECONDS)


def _changed(seen: Sighting, request: TagRequest) -> labels.Written:
    """Return a machine's labels after a change. Labels that say nothing of it stay as they are."""
    own = seen.tags
    removed = [key for key in request.remove_tags if key not in request.set_tags]
    given = {key: own[key] for key in _OF_ITS_OWN if key in own} | dict(request.set_tags)
    after = dict(seen.labels)
    long = dict((seen.more or {}).get(after.pop(labels.MORE, ""), {}))
    for key in (*removed, *given):
        long.pop(key, None)
        after.pop(key, None)
        if (label := labels.key_of(key)) is not None:
            after.pop(label, None)
    added = labels.written({**long, **given})
    return labels.Written({**after, **added.labels}, added.more)
