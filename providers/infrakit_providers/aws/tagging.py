"""CreateTags and DeleteTags, in batches of instances that get the same."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from infrakit_providers.aws.balancers import Balancers
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.owned import found, require_ours
from infrakit_providers.aws.wire import target_groups
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.tags import DRAINING
from infrakit_py.spi.provider import Outcome, TagRequest

_GONE: Final = "terminated"


class Tagger:
    """Sets and removes tags."""

    def __init__(self, caller: Caller, balancers: Balancers, is_new: Callable[[str], bool]) -> None:
        """`is_new` tells whether EC2 may not know an instance only because it is so young."""
        self._caller = caller
        self._balancers = balancers
        self._is_new = is_new

    def tag(self, requests: Sequence[TagRequest]) -> list[Outcome]:
        """Change tags, and return an outcome for each request."""
        known = found(self._caller, [request.instance_id for request in requests])
        errors: dict[int, ProviderError] = {}
        alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        leaving: dict[str, tuple[str, ...]] = {}
        for at, request in enumerate(requests):
            raw = known.get(request.instance_id)
            try:
                if raw is None and self._is_new(request.instance_id):
                    raise Transient(f"aws: EC2 does not know {request.instance_id} yet")
                if raw is None or raw["State"]["Name"] == _GONE:
                    raise ProviderError(f"aws: there is no instance {request.instance_id} to tag")
                require_ours(raw, request.cluster, request.group)
            except ProviderError as exc:
                errors[at] = exc
                continue
            if DRAINING in request.set_tags and (groups := target_groups(raw)):
                leaving[request.instance_id] = groups
            alike[tuple(sorted(request.set_tags.items())), tuple(sorted(request.remove_tags))].append(at)
        unreleased = self._balancers.deregister(leaving) if leaving else {}
        for members in alike.values():
            for at in members:
                if (error := unreleased.get(requests[at].instance_id)) is not None:
                    errors[at] = error
            errors |= self._change(requests, [at for at in members if at not in errors])
        return [Outcome(request.instance_id, errors.get(at)) for at, request in enumerate(requests)]

    def _change(self, requests: Sequence[TagRequest], members: Sequence[int]) -> dict[int, ProviderError]:
        if not members:
            return {}
        first, ids = requests[members[0]], [requests[at].instance_id for at in members]
        doing = f"tag {ids[0]}" + (f" and {len(ids) - 1} more" if ids[1:] else "")
        try:
            if first.set_tags:
                given = [{"Key": key, "Value": value} for key, value in first.set_tags.items()]
                self._caller.act(Kind.TAG, "ec2", "create_tags", doing, Resources=ids, Tags=given)
            removed = [{"Key": key} for key in first.remove_tags if key not in first.set_tags]
            if removed:
                self._caller.act(Kind.MUTATE, "ec2", "delete_tags", doing, Resources=ids, Tags=removed)
        except ProviderError as exc:
            if len(members) == 1 or exc.retryable:
                return dict.fromkeys(members, exc)
            errors: dict[int, ProviderError] = {}
            for at in members:  # one that went away meanwhile spoils no other
                errors |= self._change(requests, [at])
            return errors
        return {}
