"""The target groups that machines serve behind: who has a place there, and what the load balancer says of it.

It knows ids of instances and names of target groups, and neither clusters nor tags. What a machine is behind, and
whether it drains, is told by whoever asks.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog

from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.faults import ids_in
from infrakit_providers.aws.kept import vendor_code
from infrakit_providers.cloud.standing import Standing, joined
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Now

if TYPE_CHECKING:
    from mypy_boto3_elbv2.type_defs import TargetHealthDescriptionTypeDef, TargetHealthTypeDef

_CHUNK: Final = 100
"""Targets a call. ELBv2 publishes no limit of its own; this keeps a refused call cheap to take apart."""
_MISSING_SECONDS: Final = 30.0
_NO_GROUP: Final = frozenset({"TargetGroupNotFound", "TargetGroupNotFoundException"})
_BAD_TARGET: Final = frozenset({"InvalidTarget", "InvalidTargetException"})
_NOT_YET: Final = "not in a running state"
"""ELBv2 has one code for targets that never will do and for those that do not run yet; only its words tell."""
_FINE: Final = ("healthy", "unavailable")
_LETTING_GO: Final = ("draining", "unhealthy.draining")
_NOT_IN_USE: Final = "Target.NotInUse"
_NOT_REGISTERED: Final = "Target.NotRegistered"
_log: Final = structlog.get_logger("infrakit.aws")


class Balancers:
    """The target groups of an account and region, by name or ARN. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock
        self._lock = Lock()
        self._arns: dict[str, str] = {}
        self._missing: dict[str, float] = {}

    def standings(
        self, behind: Mapping[str, Sequence[str]], draining: Collection[str] = ()
    ) -> Mapping[str, Standing]:
        """Return how machines that run stand with the target groups that each is behind; one look at each group.

        `draining` are those that are on their way out: they wait until they are let go. The others lack a place that
        they do not have, also in a group that does not exist; `register` says what is wrong with it.
        """
        found: dict[str, list[Standing]] = {id_: [] for id_ in behind}
        for group, members in _by_group(behind).items():
            name, targets = name_of(group), self._targets(group)
            for id_ in members:
                if id_ in draining:
                    found[id_].append(_leaving(name, (targets or {}).get(id_, ())))
                elif targets is None:
                    found[id_].append(Standing(lacks=f"its place in target group {name}, which does not exist"))
                else:
                    found[id_].append(_serving(name, targets.get(id_, ())))
        return {id_: joined(standings) for id_, standings in found.items()}

    def register(self, instances: Mapping[str, Sequence[str]]) -> Mapping[str, ProviderError]:
        """Give machines that run their places, and return why not for those that did not get all. Idempotent.

        One machine's failure never spoils another's. A target that drained takes part again.
        """
        errors: dict[str, ProviderError] = {}
        for group, members in _by_group(instances).items():
            arn = self._arn_or_error(group)
            if isinstance(arn, ProviderError):
                errors.update(dict.fromkeys(members, arn))
                continue
            for chunk in _chunks(members):
                errors.update(self._change("register_targets", group, arn, chunk))
        return errors

    def deregister(self, instances: Mapping[str, Sequence[str]]) -> Mapping[str, ProviderError]:
        """Let machines go from their target groups, and return why not for those that were not let go. Idempotent.

        A target or a group that is not there is fine.
        """
        errors: dict[str, ProviderError] = {}
        for group, members in _by_group(instances).items():
            arn = self._arn_or_error(group)
            if isinstance(arn, ProviderError):
                if not _is_missing(arn):
                    errors.update(dict.fromkeys(members, arn))
                continue
            for chunk in _chunks(members):
                refused = self._change("deregister_targets", group, arn, chunk)
                errors.update((id_, e) for id_, e in refused.items() if not _is_missing(e) and not _is_bad_target(e))
        return errors

    def _targets(self, group: str) -> "Mapping[str, Sequence[TargetHealthTypeDef]] | None":
        """Return what a group says of its targets by instance; None for a group that does not exist."""
        if self._was_missing(group):
            return None
        arn = self._arn_or_error(group)
        try:
            if isinstance(arn, ProviderError):
                raise arn
            answer = self._caller.ask(
                "elbv2", "describe_target_health", f"look at target group {name_of(group)}", TargetGroupArn=arn
            )
        except ProviderError as exc:
            if not _is_missing(exc):
                raise
            self._forget(group)
            return None
        descriptions: list[TargetHealthDescriptionTypeDef] = answer["TargetHealthDescriptions"]
        targets: dict[str, list[TargetHealthTypeDef]] = {}
        for one in descriptions:  # one instance may be there with several ports
            targets.setdefault(one["Target"]["Id"], []).append(one["TargetHealth"])
        return targets

    def _change(self, operation: str, group: str, arn: str, ids: Sequence[str]) -> Mapping[str, ProviderError]:
        """Register or deregister targets. A call that some of them spoil is made again without those."""
        verb = operation.removesuffix("_targets")
        doing = f"{verb} {len(ids)} machines with target group {name_of(group)}"
        try:
            targets = [{"Id": id_} for id_ in ids]
            self._caller.act(Kind.OTHER, "elbv2", operation, doing, TargetGroupArn=arn, Targets=targets)
        except ProviderError as exc:
            if _is_missing(exc):
                self._forget(group)
                return dict.fromkeys(ids, _hinted(exc, group))
            if not _is_bad_target(exc):
                return dict.fromkeys(ids, exc)
            return self._without_the_bad(operation, group, arn, ids, exc)
        _log.info("targets changed", change=verb, target_group=name_of(group), machines=len(ids))
        return {}

    def _without_the_bad(
        self, operation: str, group: str, arn: str, ids: Sequence[str], error: ProviderError
    ) -> Mapping[str, ProviderError]:
        if len(ids) == 1:
            return {ids[0]: _classed(error)}
        named = ids_in(error) & frozenset(ids)
        if named:
            rest = [id_ for id_ in ids if id_ not in named]
            errors: dict[str, ProviderError] = dict.fromkeys(named, _classed(error))
            return {**errors, **self._change(operation, group, arn, rest)} if rest else errors
        half = len(ids) // 2
        return {
            **self._change(operation, group, arn, ids[:half]),
            **self._change(operation, group, arn, ids[half:]),
        }

    def _arn_or_error(self, group: str) -> str | ProviderError:
        """Return a group's ARN. A group's name is asked for once."""
        if group.startswith("arn:"):
            return group
        with self._lock:
            if group in self._arns:
                return self._arns[group]
        try:
            answer = self._caller.ask("elbv2", "describe_target_groups", f"find target group {group}", Names=[group])
        except ProviderError as exc:
            return _hinted(exc, group) if _is_missing(exc) else exc
        arn = str(answer["TargetGroups"][0]["TargetGroupArn"])
        with self._lock:
            self._arns[group] = arn
            self._missing.pop(group, None)
        return arn

    def _forget(self, group: str) -> None:
        """Ask for a name again, some time: a group of that name that is made anew has another ARN."""
        with self._lock:
            self._arns.pop(group, None)
            self._missing[group] = self._clock.now()

    def _was_missing(self, group: str) -> bool:
        """Tell whether a group did not exist a moment ago: listings come often, and each would ask in vain."""
        with self._lock:
            at = self._missing.get(group)
            return at is not None and 0 <= self._clock.now() - at < _MISSING_SECONDS


def name_of(group: str) -> str:
    """Return the name of a target group that is given by its name or its ARN."""
    return group.split("targetgroup/", 1)[1].split("/", 1)[0] if group.startswith("arn:") else group


def _by_group(instances: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for id_, names in instances.items():
        for name in names:
            groups.setdefault(name, []).append(id_)
    return groups


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ids), _CHUNK):
        yield ids[begin : begin + _CHUNK]


def _serving(name: str, targets: "Sequence[TargetHealthTypeDef]") -> Standing:
    """Return how a machine that shall serve stands with one group. Of several ports the worst counts."""
    here = [one for one in targets if one["State"] not in _LETTING_GO and one.get("Reason") != _NOT_REGISTERED]
    if not here:
        return Standing(lacks=f"its place in target group {name}")
    for one in sorted(here, key=lambda one: one["State"] != "unhealthy"):
        state, reason = one["State"], one.get("Reason", "")
        if state in _FINE or (state == "unused" and reason == _NOT_IN_USE):
            continue  # a group that no load balancer uses, or that checks nothing, finds nobody healthy, ever
        text = f"target group {name}: {_said(one)}"
        return Standing(impaired=text) if state == "unhealthy" else Standing(awaits=text)
    return Standing()


def _leaving(name: str, targets: "Sequence[TargetHealthTypeDef]") -> Standing:
    if any(one["State"] != "unused" for one in targets):
        return Standing(awaits=f"target group {name}: draining")
    return Standing()


def _said(one: "TargetHealthTypeDef") -> str:
    """Return why a target is as it is, in words and with the reason by which people look it up."""
    if one["State"] == "initial":
        return "initial health checks"
    reason, description = one.get("Reason", ""), one.get("Description", "")
    return f"{description} ({reason})" if description and reason else description or reason or one["State"]


def _is_missing(error: ProviderError) -> bool:
    return vendor_code(error) in _NO_GROUP


def _is_bad_target(error: ProviderError) -> bool:
    return vendor_code(error) in _BAD_TARGET


def _classed(error: ProviderError) -> ProviderError:
    """Return the refusal of a target, as one that passes where the machine only does not run yet."""
    if _NOT_YET not in str(error):
        return error
    transient = Transient(str(error))
    transient.__cause__ = error.__cause__
    return transient


def _hinted(error: ProviderError, group: str) -> ProviderError:
    hinted = ProviderError(
        f"aws: target group {group} does not exist",
        hint="make it in the provider's account and region, or leave it out of machine.target_groups",
    )
    hinted.__cause__ = error.__cause__
    return hinted
