"""Carrying a plan out, in batches. The only room that changes the world, and the only blanket `except`.

Order: publish, remember what is about to be created, create, then drain, destroy and retag. A stop is heeded
between calls: what was begun is finished, nothing new is begun. Where several controllers run, each call that changes
something is permitted just before it is made, in the very thread that makes it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event as Flag
from typing import Final, NoReturn, TypeAlias, TypeVar

import structlog

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Cluster, Group
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.limits import Grant, Kind, Limiter, Urgency, urgency_of
from infrakit_py.engine.meter import Call, Meter, NoMeter
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import InfrakitError, ProviderError, Throttled, TokenSpent
from infrakit_py.model import tags
from infrakit_py.model.plan import Action, Create, Destroy, Drain, GroupPlan, Publish, Retag
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import GroupSpec, Image
from infrakit_py.spi.flavor import MemberIdentity
from infrakit_py.spi.provider import DestroyRequest, Outcome, Provider, ProvisionRequest, TagRequest
from infrakit_py.spi.store import Intent, Store

A = TypeVar("A", Drain, Destroy, Retag)
C = TypeVar("C")
R = TypeVar("R")
T = TypeVar("T")
Urgent: TypeAlias = Callable[[Action], Urgency]

_PROGRESS_SECONDS: Final = 1.0
_CALLS: Final = {Kind.PROVISION: Call.PROVISION, Kind.DESTROY: Call.DESTROY, Kind.TAG: Call.TAG}
_log: Final = structlog.get_logger("infrakit.execute")


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a plan: how many actions the providers accepted, and what failed.

    Stopped: not all was tried. `more_at`: nor was what a provider's published limits do not allow before then.
    """

    done: int = 0
    failures: tuple[tuple[Action, ProviderError], ...] = ()
    stopped: bool = False
    more_at: float = 0.0


def allowed() -> None:
    """Permit every call: no other controller can act on this cluster."""


@dataclass(slots=True)
class Executor:
    """Carries out one cluster's plans. `limiters`: by provider; other clusters may share them.

    `permit` raises Fenced where this process may not act on the cluster any more.
    """

    cluster: Cluster
    store: Store
    runner: Runner
    clock: Clock
    listener: Listener
    limiters: Mapping[str, Limiter]
    permit: Callable[[], None] = allowed
    meter: Meter = field(default_factory=NoMeter)
    stop: Flag = field(default_factory=Flag)

    def execute(
        self, group: Group, plan: GroupPlan, previous: Group | None = None, *, whole: bool = False
    ) -> Execution:
        """Try every action of the plan once, as far as limits allow. StoreError leaves before anything is created.

        Of actions of a kind the most urgent come first. `previous` makes the machines of the last good version.
        `whole`: the group had all its machines once, and what it lacks it has lost.
        """
        urgency = partial(urgency_of, plan=plan, whole=whole)
        actions = sorted(plan.actions, key=urgency)
        result = self._publish(group, [a for a in actions if isinstance(a, Publish)])
        if result.failures:
            return result
        for step in (
            partial(self._create, group, [a for a in actions if isinstance(a, Create) and not a.previous], urgency),
            partial(self._create, previous, [a for a in actions if isinstance(a, Create) and a.previous], urgency),
            partial(self._drain, group, [a for a in actions if isinstance(a, Drain)], urgency),
            partial(self._destroy, group, [a for a in actions if isinstance(a, Destroy)], urgency),
            partial(self._retag, group, [a for a in actions if isinstance(a, Retag)], urgency),
        ):
            result = _joined(result, step())
        return result

    def _publish(self, group: Group, actions: Sequence[Publish]) -> Execution:
        result = Execution()
        for action in actions:
            if self.stop.is_set():
                return _joined(result, Execution(stopped=True))
            provider = self.cluster.providers[action.provider]
            self._tell(group, EventKind.PUBLISHING, action.reason, size=action.image.size)
            outcome = _guarded(partial(self._publish_one, group, provider, action), count=1)[0]
            result = _joined(result, self._account(group, [action], [outcome], EventKind.PUBLISHED))
        return result

    def _publish_one(self, group: Group, provider: Provider, action: Publish) -> Sequence[Outcome]:
        told_at = self.clock.now()

        def progress(done: int, total: int) -> None:
            nonlocal told_at
            if self.clock.now() - told_at >= _PROGRESS_SECONDS:
                told_at = self.clock.now()
                text = f"image {action.image.name}: {format_size(done)} of {format_size(total)}"
                self._tell(group, EventKind.PUBLISHING, text, done=done, total=total)

        if not action.image.is_built:
            raise ProviderError(f"image {action.image.name} is not built yet", hint="infra image build")

        def publish() -> Sequence[Outcome]:
            provider.publish(action.image, progress)
            return [Outcome()]

        return self._call(action.provider, Call.PUBLISH, publish)

    def _create(self, group: Group | None, actions: Sequence[Create], urgency: Urgent) -> Execution:
        if not actions or group is None or group.spec is None or group.desired.image is None:
            return Execution()
        spec, image = group.spec, group.desired.image
        purpose = f"previous {EventKind.CREATED}" if actions[0].previous else EventKind.CREATED
        completing = [action for action in actions if action.completes]  # nothing new is made: no limit holds
        actions = [action for action in actions if not action.completes]
        grant = self._granted(group, group.desired.provider, Kind.PROVISION, actions, urgency, purpose)
        actions = [*completing, *actions[: grant.machines]]
        if not actions:
            return Execution(more_at=grant.more_at)
        requests = [self._provision_request(group, spec, image, action) for action in actions]
        if self.stop.is_set():
            return Execution(stopped=True)
        ticketed, refused = self._arranged(group, actions, requests)
        if refused is not None:
            return replace(self._account(group, actions, refused, EventKind.CREATED), more_at=grant.more_at)
        intents = [self._intent(group, *pair) for pair in zip(actions, ticketed, strict=True)]
        self.store.record(intents)
        for action in actions:
            kind = EventKind.FINISHING if action.completes else EventKind.CREATING
            self._tell(group, kind, f"{action.name}: {action.reason}", name=action.name)
        name = group.desired.provider
        provider = self.cluster.providers[name]
        batch = provider.limits.provision_batch
        outcomes, stopped = self._in_batches(name, Call.PROVISION, ticketed, batch, provider.provision)
        self._remember(actions, intents[: len(outcomes)], outcomes)
        self.store.forget(intents[len(outcomes) :])
        self._learn(group.desired.provider, Kind.PROVISION, outcomes)
        accounted = self._account(group, actions[: len(outcomes)], outcomes, EventKind.CREATED)
        return replace(accounted, stopped=stopped, more_at=grant.more_at)

    def _granted(
        self, group: Group, provider: str, kind: Kind, actions: Sequence[Action], urgency: Urgent, purpose: str
    ) -> Grant:
        """Take tokens for these actions. Of a group each `purpose` waits for them by itself."""
        claimant = (self.cluster.name, group.name, provider, purpose)
        return self.limiters[provider].take(kind, Counter(map(urgency, actions)), self.clock.now(), claimant)

    def _arranged(
        self, group: Group, actions: Sequence[Create], requests: Sequence[ProvisionRequest]
    ) -> tuple[Sequence[ProvisionRequest], Sequence[Outcome] | None]:
        """Give each request its ticket: the one that was written down, or a new one. Or say why there is none."""
        desired = group.desired
        resumes = any(action.resumes for action in actions)
        known = {
            (intent.slot, intent.incarnation): intent.ticket
            for intent in (self.store.intents(desired.cluster, desired.group) if resumes else ())
            if intent.provider == desired.provider
        }
        written = [known.get((a.slot, a.incarnation), "") if a.resumes else "" for a in actions]
        new = [request for request, ticket in zip(requests, written, strict=True) if not ticket]
        provider = self.cluster.providers[desired.provider]
        arrange = partial(self._call, desired.provider, Call.ARRANGE, partial(provider.arrange, new))
        answer = attempt(arrange) if new else ()
        if not isinstance(answer, InfrakitError) and len(answer) != len(new):
            answer = ProviderError(f"bug in the provider: {len(answer)} tickets for {len(new)} requests")
        if isinstance(answer, InfrakitError):
            return requests, _guarded(partial(_raise, answer), len(requests))
        arranged = iter(answer)
        return [
            replace(request, ticket=ticket or next(arranged))
            for request, ticket in zip(requests, written, strict=True)
        ], None

    def _learn(self, provider: str, kind: Kind, outcomes: Sequence[Outcome]) -> None:
        if any(isinstance(outcome.error, Throttled) for outcome in outcomes):
            self.limiters[provider].refused(kind, self.clock.now())

    def _remember(self, actions: Sequence[Create], intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> None:
        """Note ids of what was accepted. An answer that never came leaves an intent without one: it may exist.

        A repetition that is turned away says nothing of the first try: the intent stays until the first one is late.
        """
        accepted: list[Intent] = []
        refused: list[Intent] = []
        now = self.clock.now()
        for action, intent, outcome in zip(actions[: len(outcomes)], intents, outcomes, strict=True):
            if outcome.error is None:
                accepted.append(replace(intent, instance_id=outcome.instance_id))
            elif isinstance(outcome.error, TokenSpent):
                accepted.append(replace(intent, gone=True))
            elif action.resumes and isinstance(outcome.error, Throttled):
                pass
            elif outcome.error.refused or not outcome.error.retryable:
                refused.append(intent)
            else:  # it may have been asked for until just now, long after a large batch began
                accepted.append(replace(intent, since=now))
        self.store.record(accepted)
        self.store.forget(refused)

    def _provision_request(self, group: Group, spec: GroupSpec, image: Image, action: Create) -> ProvisionRequest:
        desired = group.desired
        identity = identify(group, action)
        token = tags.token(desired.cluster, desired.group, action.slot, action.incarnation)
        own = {
            tags.CLUSTER: desired.cluster,
            tags.GROUP: desired.group,
            tags.CONFIG_HASH: desired.fingerprint,
            tags.IMAGE: image.identity,
            tags.REVISION: str(self.cluster.revision),
            tags.TOKEN: token,
            tags.SLOT: action.slot,
            tags.INCARNATION: str(action.incarnation),
        }
        if action.logical_id is not None:
            own[tags.LOGICAL_ID] = action.logical_id
        if action.failures:
            own[tags.FAILURES] = str(action.failures)
        return ProvisionRequest(
            token=token,
            name=action.name,
            tags=tags.with_user_tags(own, desired.user_tags),
            image=image,
            machine=spec.machine,
            user_data=group.flavor.user_data(identity) if group.flavor is not None else None,
            data_key=action.logical_id,
        )

    def _intent(self, group: Group, action: Create, request: ProvisionRequest) -> Intent:
        desired = group.desired
        return Intent(
            desired.cluster,
            desired.group,
            action.provider,
            action.slot,
            action.incarnation,
            action.logical_id,
            desired.fingerprint,
            self.clock.now(),
            ticket=request.ticket,
        )

    def _drain(self, group: Group, actions: Sequence[Drain], urgency: Urgent) -> Execution:
        began = {tags.DRAINING: repr(self.clock.now())}
        requests = [TagRequest(a.instance_id, self.cluster.name, began, group=group.name) for a in actions]
        return self._by_provider(
            group,
            actions,
            urgency,
            requests,
            Kind.TAG,
            lambda p: (p.limits.tag_batch, p.tag),
            EventKind.DRAINING,
            before=EventKind.DRAINING,
            quiet=True,
        )

    def _destroy(self, group: Group, actions: Sequence[Destroy], urgency: Urgent) -> Execution:
        requests = [DestroyRequest(a.instance_id, self.cluster.name, group.name) for a in actions]
        return self._by_provider(
            group,
            actions,
            urgency,
            requests,
            Kind.DESTROY,
            lambda p: (p.limits.destroy_batch, p.destroy),
            EventKind.DESTROYED,
            before=EventKind.DESTROYING,
        )

    def _retag(self, group: Group, actions: Sequence[Retag], urgency: Urgent) -> Execution:
        requests = [
            TagRequest(a.instance_id, self.cluster.name, a.set_tags, a.remove_tags, group.name) for a in actions
        ]
        return self._by_provider(
            group, actions, urgency, requests, Kind.TAG, lambda p: (p.limits.tag_batch, p.tag), EventKind.TAGGED
        )

    def _by_provider(
        self,
        group: Group,
        actions: Sequence[A],
        urgency: Urgent,
        requests: Sequence[R],
        kind: Kind,
        call_of: Callable[[Provider], tuple[int, Callable[[Sequence[R]], Sequence[Outcome]]]],
        done: EventKind,
        *,
        before: EventKind | None = None,
        quiet: bool = False,
    ) -> Execution:
        """A group in the middle of a move has members on two providers: one call each."""
        result = Execution()
        for name in sorted({action.provider for action in actions}):
            chosen = [i for i, action in enumerate(actions) if action.provider == name]
            grant = self._granted(group, name, kind, [actions[i] for i in chosen], urgency, done)
            chosen = chosen[: grant.machines]
            result = _joined(result, Execution(more_at=grant.more_at))
            provider = self.cluster.providers[name]
            batch, call = call_of(provider)
            if before is not None:
                for i in chosen:
                    self._tell(group, before, f"{actions[i].name}: {actions[i].reason}", name=actions[i].name)
            outcomes, stopped = self._in_batches(name, _CALLS[kind], [requests[i] for i in chosen], batch, call)
            self._learn(name, kind, outcomes)
            tried = [actions[i] for i in chosen][: len(outcomes)]
            result = _joined(result, self._account(group, tried, outcomes, done, quiet=quiet))
            result = replace(result, stopped=result.stopped or stopped)
        return result

    def _in_batches(
        self,
        provider: str,
        kind: Call,
        requests: Sequence[R],
        batch: int,
        call: Callable[[Sequence[R]], Sequence[Outcome]],
    ) -> tuple[list[Outcome], bool]:
        """Call batch by batch, some beside each other; return the outcomes of what was tried, in order."""
        outcomes: list[Outcome] = []
        at_once = self.cluster.providers[provider].limits.parallel_calls
        for begin in range(0, len(requests), batch * at_once):
            if self.stop.is_set():
                return outcomes, True
            window = requests[begin : begin + batch * at_once]
            chunks = [window[i : i + batch] for i in range(0, len(window), batch)]
            permitted = [partial(self._call, provider, kind, partial(call, chunk)) for chunk in chunks]
            calls = [partial(_guarded, one, len(chunk)) for one, chunk in zip(permitted, chunks, strict=True)]
            for answers in self.runner.map(calls, at_once, provider):
                outcomes += answers
        return outcomes, False

    def _call(self, provider: str, kind: Call, call: Callable[[], Sequence[C]]) -> Sequence[C]:
        """Make a call that changes something, if it is permitted at the last moment, and tell how long it took."""
        self.permit()
        began, error = self.clock.now(), ""
        try:
            answers = call()
        except Exception as exc:
            error = type(exc).__name__
            raise
        else:
            error = next((name for name in map(_error_of, answers) if name), "")
            return answers
        finally:
            seconds = self.clock.now() - began
            attempt(partial(self.meter.called, self.cluster.name, provider, kind, seconds, error))

    def _account(
        self,
        group: Group,
        actions: Sequence[Action],
        outcomes: Sequence[Outcome],
        done: EventKind,
        *,
        quiet: bool = False,
    ) -> Execution:
        failures: list[tuple[Action, ProviderError]] = []
        for action, outcome in zip(actions, outcomes, strict=True):
            name = _name_of(action)
            if outcome.error is None:
                kind = EventKind.FINISHED if isinstance(action, Create) and action.completes else done
                _log.info(kind.value, cluster=self.cluster.name, group=group.name, machine=name, why=action.reason)
                if not quiet:
                    self._tell(group, kind, name, name=name, instance=outcome.instance_id or "")
            else:
                failures.append((action, outcome.error))
                kind = EventKind.RETRY if outcome.error.retryable else EventKind.FAILED
                hint = f" ({outcome.error.hint})" if outcome.error.hint else ""
                text = str(outcome.error).removeprefix(f"{name}: ")
                self._tell(group, kind, f"{name}: {text}{hint}", name=name)
        return Execution(len(actions) - len(failures), tuple(failures))

    def _tell(self, group: Group, kind: EventKind, text: str, **fields: str | int | float) -> None:
        attempt(partial(self.listener, Event(self.clock.now(), kind, group.name, text, fields)))


def _error_of(answer: object) -> str:
    return type(answer.error).__name__ if isinstance(answer, Outcome) and answer.error is not None else ""


def identify(group: Group, action: Create) -> MemberIdentity:
    """Say who a machine to be created is."""
    desired = group.desired
    index = desired.logical_ids.index(action.slot) if desired.logical_ids is not None else int(action.slot)
    return MemberIdentity(desired.cluster, desired.group, desired.count, action.name, action.logical_id, index)


def attempt(call: Callable[[], T]) -> T | InfrakitError:
    """Return what `call` returns, or the error that ended it. A bug becomes an error that is logged and shown."""
    try:
        return call()
    except InfrakitError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - a bug in a plugin must not take the other groups down
        _log.exception("unexpected")
        return ProviderError(f"unexpected {type(exc).__name__}: {exc}", hint="this is a bug; --debug shows where")


def _raise(error: InfrakitError) -> NoReturn:
    raise error


def _guarded(call: Callable[[], Sequence[Outcome]], count: int) -> Sequence[Outcome]:
    """Make every way in which a call can end an outcome for each of its requests."""
    outcomes = attempt(call)
    if isinstance(outcomes, InfrakitError):
        error = outcomes if isinstance(outcomes, ProviderError) else ProviderError(str(outcomes), hint=outcomes.hint)
        return [Outcome(error=error)] * count
    if len(outcomes) != count:
        text = f"bug in the provider: {len(outcomes)} outcomes for {count} requests"
        return [Outcome(error=ProviderError(text))] * count
    return outcomes


def _joined(one: Execution, other: Execution) -> Execution:
    more = min((at for at in (one.more_at, other.more_at) if at), default=0.0)
    return Execution(one.done + other.done, one.failures + other.failures, one.stopped or other.stopped, more)


def _name_of(action: Action) -> str:
    return f"image {action.image.name}" if isinstance(action, Publish) else action.name
