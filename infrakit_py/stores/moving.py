"""Taking clusters into a store that were exported from one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from infrakit_py.errors import InfrakitError, StoreError, UsageError
from infrakit_py.model.declared import SourceStatus
from infrakit_py.stores.codec import value_json
from infrakit_py.stores.document import Document, happened
from infrakit_py.stores.transfer import Exported, Transfer

_REPLACE: Final = "--replace puts what the file says in the place of all that is remembered of them"


def take_in(store: Transfer, document: Document, said: Callable[[str], None], *, replacing: bool) -> None:
    """Remember what a document says; `said` hears of each cluster that is done.

    Clusters that are remembered already are refused unless `replacing`, and those that somebody holds always: before
    anything is written, as far as that can be known. InfrakitError says what was done before it.
    """
    _require_room(store, document, replacing=replacing)
    done: list[str] = []
    try:
        for cluster, exported in document.clusters.items():
            with store.exclusive(cluster):
                if not replacing and store.dump(cluster) != Exported():  # somebody was faster
                    raise _already([cluster])
                store.restore(cluster, exported)
            done.append(cluster)
            said(cluster)
        for status in document.sources.values():
            store.note_source(_joined(store.sources().get(status.name), status))
        known = set(map(value_json, happened(store, None))) if document.events else set()
        store.note_occurrences([event for event in document.events if value_json(event) not in known])
    except InfrakitError as exc:
        if not done:
            raise
        raise StoreError(f"{exc}; imported before that: {', '.join(done)}", hint=exc.hint) from exc


def _require_room(store: Transfer, document: Document, *, replacing: bool) -> None:
    there = sorted(document.clusters.keys() & set(store.clusters()))
    if there and not replacing:
        raise _already(there)
    for cluster in document.clusters:
        with store.exclusive(cluster):
            pass


def _already(there: Sequence[str]) -> UsageError:
    named = f"cluster {there[0]} is" if len(there) == 1 else f"clusters {', '.join(there)} are"
    return UsageError(f"{named} in the store already", hint=_REPLACE)


def _joined(there: SourceStatus | None, status: SourceStatus) -> SourceStatus:
    """Return where a source stands, with what it declared when the clusters were exported.

    As if there had been no move: what a source has changed since counts, and what it has not is declared already.
    """
    if there is None:
        return status
    return replace(there, digests={**there.digests, **status.digests})
