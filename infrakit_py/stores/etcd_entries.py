"""Where a value lies in etcd, and as what: a key and its content, for each kind of value. Pure."""

from typing import TypeAlias

from infrakit_py.model.declared import RevisionRecord
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.etcd_keys import (
    HEALTHY,
    HISTORY,
    IN_FORCE,
    INTENTS,
    LAST,
    PAUSES,
    REVISIONS,
    SPECS,
    VERSIONS,
    Keys,
    numbered,
)
from infrakit_py.stores.etcd_rows import InForceRow, IntentRow, RevisionRow, VersionRow
from infrakit_py.stores.etcd_values import packed_value

Entry: TypeAlias = tuple[str, bytes]


def intent_entry(keys: Keys, intent: Intent) -> Entry:
    key = keys.key(INTENTS, intent.cluster, intent.group, intent.provider, intent.slot)
    return key, packed_value(IntentRow.of(intent), f"the intent of slot {intent.slot} of group {intent.group}")


def healthy_entry(keys: Keys, cluster: str, instance: InstanceId, since: float) -> Entry:
    return keys.key(HEALTHY, cluster, instance), repr(float(since)).encode()


def revision_entry(keys: Keys, cluster: str, record: RevisionRecord) -> Entry:
    return keys.key(REVISIONS, cluster, numbered(record.number)), _revision(record)


def last_revision_entry(keys: Keys, cluster: str, record: RevisionRecord) -> Entry:
    return keys.key(LAST, REVISIONS, cluster), _revision(record)


def spec_entry(keys: Keys, number: int, spec: ClusterSpec) -> Entry:
    return keys.key(SPECS, spec.name, numbered(number)), packed_value(spec, f"the spec of cluster {spec.name}")


def in_force_entry(keys: Keys, cluster: str, in_force: InForce) -> Entry:
    content = packed_value(InForceRow.of(in_force), f"what is in force of cluster {cluster}")
    return keys.key(IN_FORCE, cluster), content


def version_entry(keys: Keys, cluster: str, group: str, fingerprint: str, row: VersionRow) -> Entry:
    return keys.key(VERSIONS, cluster, group, fingerprint), packed_value(row, f"a version of group {group}")


def line_entry(keys: Keys, cluster: str, number: int, line: HistoryEntry) -> Entry:
    return keys.key(HISTORY, cluster, numbered(number)), packed_value(line, "a line of history")


def last_line_entry(keys: Keys, cluster: str, number: int) -> Entry:
    return keys.key(LAST, HISTORY, cluster), str(number).encode()


def pause_entry(keys: Keys, cluster: str, group: str, pause: Pause) -> Entry:
    return keys.key(PAUSES, cluster, group), packed_value(pause, f"a pause of group {group}")


def _revision(record: RevisionRecord) -> bytes:
    return packed_value(RevisionRow.of(record), f"revision {record.number}")
