"""What the API is told: clusters to keep, sizes, rollouts to hold or undo. The controller decides; this asks it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from infrakit_py.api.controls import Controls
from infrakit_py.api.documents import (
    AcceptedDocument,
    AppliedClustersDocument,
    AppliedDocument,
    DoneDocument,
    DoneListDocument,
    ScaledDocument,
    WithdrawnDocument,
)
from infrakit_py.api.inputs import (
    ApplyBody,
    ApplyQuery,
    NoBody,
    Query,
    RawBody,
    RolloutBody,
    ScaleBody,
    WithdrawQuery,
)
from infrakit_py.api.operations import Asked, Change, Reply
from infrakit_py.api.problems import Refusal
from infrakit_py.api.webhook import is_authentic

ONE_FILE: Final = "cluster.yml"
"""What a body that is one cluster file is called."""


class Changing:
    """Carries out what is asked for, once each. Safe for threads."""

    def __init__(self, controls: Controls, webhook_secret: str) -> None:
        self._controls = controls
        self._webhook_secret = webhook_secret

    def apply(self, asked: Asked[ApplyQuery, ApplyBody]) -> Reply:
        body, dry_run = asked.body, asked.query.dry_run
        missing = [name for name in body.main if name not in body.files]
        if missing:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"main: {missing[0]!r} is none of the files")
        applied = self._controls.apply(
            body.files, body.main, asked.actor, expected=body.expected or {}, dry_run=dry_run
        )
        documents = [AppliedDocument(cluster=a.cluster, revision=a.revision, changed=a.changed) for a in applied]
        changes = tuple(Change(a.cluster, revision=a.revision, changed=a.changed and not dry_run) for a in applied)
        return Reply(AppliedClustersDocument(clusters=documents, dry_run=dry_run), changes=changes)

    def withdraw(self, asked: Asked[WithdrawQuery, NoBody]) -> Reply:
        cluster, prune = asked.path["cluster"], asked.query.prune
        self._controls.withdraw(cluster, asked.actor, prune=prune)
        return Reply(WithdrawnDocument(cluster=cluster, prune=prune), changes=(Change(cluster),))

    def scale(self, asked: Asked[Query, ScaleBody]) -> Reply:
        cluster, group, size = asked.path["cluster"], asked.path["group"], asked.body.size
        applied = self._controls.scale(cluster, group, size, asked.actor, expected=asked.body.expected)
        document = ScaledDocument(
            cluster=cluster, group=group, size=size, revision=applied.revision, changed=applied.changed
        )
        return Reply(document, changes=(Change(cluster, group, applied.revision, applied.changed),))

    def pause(self, asked: Asked[Query, RolloutBody]) -> Reply:
        cluster, groups = asked.path["cluster"], asked.body.groups or []
        return _done(cluster, self._controls.pause(cluster, groups, asked.body.reason, asked.actor))

    def resume(self, asked: Asked[Query, RolloutBody]) -> Reply:
        cluster, groups = asked.path["cluster"], asked.body.groups or []
        return _done(cluster, self._controls.resume(cluster, groups, asked.actor))

    def undo(self, asked: Asked[Query, RolloutBody]) -> Reply:
        cluster, groups = asked.path["cluster"], asked.body.groups or []
        return _done(cluster, self._controls.undo(cluster, groups, asked.body.reason, asked.actor))

    def wake(self, asked: Asked[Query, RawBody]) -> Reply:
        if not self._webhook_secret:
            raise Refusal(HTTPStatus.NOT_FOUND, "no webhook is configured", hint="set api.webhook_secret_file")
        if not is_authentic(self._webhook_secret, asked.headers, asked.body.content):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the call is not signed with the webhook's secret")
        self._controls.wake_sources()
        return Reply(AcceptedDocument(), HTTPStatus.ACCEPTED)


def _done(cluster: str, done: Sequence[tuple[str, str]]) -> Reply:
    documents = [DoneDocument(cluster=cluster, group=group, text=text) for group, text in done]
    return Reply(DoneListDocument(done=documents), changes=tuple(Change(cluster, group) for group, _ in done))
