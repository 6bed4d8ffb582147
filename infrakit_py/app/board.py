"""Where groups stand, as documents that are there when somebody asks: no question waits for the work."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event as Flag
from threading import Lock, Thread
from typing import Final, cast

from infrakit_py.api.controls import Standing
from infrakit_py.clock import Clock
from infrakit_py.engine.controller import Keeper
from infrakit_py.engine.engine import GroupStatus
from infrakit_py.engine.execute import attempt
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import Declared
from infrakit_py.model.spec import Json
from infrakit_py.spi.store import Store

_PAUSE_SECONDS: Final = 1.0
_NOTE_SECONDS: Final = 15.0
"""How often it is noted for other controllers that nothing has changed."""
_SEEN: Final = "-"
"""In place of a group: when the cluster was last seen. No group can be called so."""


@dataclass(frozen=True, slots=True)
class _Shown:
    status: GroupStatus
    document: Json


class Board:
    """The documents of the clusters that are kept here, and, where controllers share a store, of all others."""

    def __init__(
        self, keepers: Callable[[], Mapping[str, Keeper]], store: Store, clock: Clock, *, shares: bool
    ) -> None:
        self._keepers = keepers
        self._store = store
        self._clock = clock
        self._shares = shares
        self._shown: dict[str, dict[str, _Shown]] = {}
        self._at: dict[str, float] = {}
        self._noted_at: dict[str, float] = {}
        self._lock = Lock()
        self._over = Flag()
        self._thread = Thread(target=self._run, name="board", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def standing(self, declared: Declared, owner: str) -> Standing:
        """Return where a cluster stands, as it was last seen here or noted by its owner."""
        name = declared.spec.name
        with self._lock:
            shown, at = dict(self._shown.get(name, {})), self._at.get(name, 0.0)
        if shown or not self._shares:
            documents = {group: one.document for group, one in shown.items() if one.document is not None}
            phases = {group: one.status.phase.value for group, one in shown.items()}
            return Standing(declared, owner, at, documents, phases)
        return self._of_others(declared, owner)

    def refresh(self) -> None:
        """Describe anew what has changed since the last time."""
        keepers = self._keepers()
        for cluster, keeper in keepers.items():
            statuses = keeper.statuses()
            before = self._shown.get(cluster, {})
            now = {group: self._describe(keeper, group, status, before) for group, status in statuses.items()}
            if self._shares:
                attempt(partial(self._share, cluster, before, now))
            with self._lock:
                if now or cluster not in self._shown:
                    self._shown[cluster], self._at[cluster] = now, self._clock.now()
        with self._lock:
            for cluster in [cluster for cluster in self._shown if cluster not in keepers]:
                del self._shown[cluster], self._at[cluster]
                self._noted_at.pop(cluster, None)

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_SECONDS):
            attempt(self.refresh)

    def _describe(self, keeper: Keeper, group: str, status: GroupStatus, before: Mapping[str, _Shown]) -> _Shown:
        known = before.get(group)
        if known is not None and known.status is status:
            return known
        document = attempt(partial(keeper.document, group, status))
        if isinstance(document, InfrakitError) or document is None:
            document = known.document if known is not None else None
        return _Shown(status, document)

    def _share(self, cluster: str, before: Mapping[str, _Shown], now: Mapping[str, _Shown]) -> None:
        """Note what has changed, and now and then that it is still so."""
        at = self._clock.now()
        noted = {group: self._text(one) for group, one in now.items() if not _alike(before.get(group), one)}
        noted.update((group, "") for group in before if group not in now)
        if noted or at - self._noted_at.get(cluster, 0.0) >= _NOTE_SECONDS:
            self._store.note_standings(cluster, {**noted, _SEEN: json.dumps({"at": at})})
            self._noted_at[cluster] = at

    def _text(self, shown: _Shown) -> str:
        entry = {"phase": shown.status.phase.value, "document": shown.document}
        return json.dumps(entry, separators=(",", ":"), ensure_ascii=False)

    def _of_others(self, declared: Declared, owner: str) -> Standing:
        noted = {group: json.loads(text) for group, text in self._store.standings(declared.spec.name).items()}
        at = noted.pop(_SEEN, {"at": 0.0})["at"]
        documents = {group: cast(Json, entry["document"]) for group, entry in noted.items() if entry["document"]}
        return Standing(declared, owner, at, documents, {group: entry["phase"] for group, entry in noted.items()})


def _alike(one: _Shown | None, other: _Shown) -> bool:
    return one is other or (
        one is not None and (one.status.phase, one.document) == (other.status.phase, other.document)
    )
