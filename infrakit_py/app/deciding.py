"""A person's word on rollouts, written to the store: pause, resume, undo. Nothing else is touched."""

from infrakit_py.app.root import Rollouts
from infrakit_py.engine.cluster import Group
from infrakit_py.engine.versions import RESUMED
from infrakit_py.errors import UsageError
from infrakit_py.model.revision import VersionRecord, VersionState
from infrakit_py.render.standing import version_words
from infrakit_py.spi.store import Pause

UNDONE = "undone by a person"


def pause_group(rollouts: Rollouts, group: Group, reason: str) -> str:
    """Pause a group's rollout, and say what was done."""
    before = rollouts.store.pauses(rollouts.cluster).get(group.name)
    if before is not None and before.reason == reason:
        return f"{group.name} was paused already" + (f" ({reason})" if reason else "")
    rollouts.store.pause(rollouts.cluster, group.name, Pause(reason, rollouts.clock.now()))
    return f"{group.name} is paused" + (f" ({reason})" if reason else "")


def resume_group(rollouts: Rollouts, group: Group) -> str:
    """Lift a pause, and let a version that failed or was undone be tried again. Say what was done."""
    done = []
    if _lift(rollouts, group):
        done.append("its pause is lifted")
    record = declared_record(rollouts, group)
    if record is not None and record.state is not VersionState.GOOD:
        _try_anew(rollouts, group, record)
        match record.state:
            case VersionState.ROLLING:
                done.append("machines that failed before now no longer stop it")
            case _:
                was = "was undone" if record.state is VersionState.UNDONE else record.state.value
                why = f" ({record.reason})" if record.reason else ""
                done.append(f"revision {record.version.revision}, which {was}{why}, is tried again")
    if not done:
        return f"{group.name} was neither paused nor stopped; nothing to resume"
    hint = "; but rollout.paused is set in the file" if _paused_by_file(group) else ""
    return f"{group.name} is resumed: {', and '.join(done)}{hint}"


def to_undo(rollouts: Rollouts, *, named: bool) -> list[tuple[Group, VersionRecord]]:
    """Return the groups that go back, with what they go back from. UsageError where one of them cannot.

    Unless groups were named, those whose declared version is good already stay as they are.
    """
    found = []
    for group in rollouts.groups.values():
        record = declared_record(rollouts, group)
        if not named and (record is None or record.state is VersionState.GOOD):
            continue
        if record is None:
            raise UsageError(
                f"group {group.name}: nothing of what the file declares was rolled out yet: there is nothing to undo",
                hint="infra rollout history shows what was",
            )
        if not rollouts.versions.has_way_back(group):
            raise UsageError(
                f"group {group.name}: there is no good version to go back to",
                hint="declare the version that you want, and apply it",
            )
        found.append((group, record))
    return found


def undo_group(rollouts: Rollouts, group: Group, record: VersionRecord, reason: str) -> str:
    """Let a group go back from its declared version. A pause was meant for that version, and is lifted."""
    if record.state is VersionState.UNDONE and not reason:
        return f"{group.name} was undone already"
    why = f"{UNDONE}: {reason}" if reason else UNDONE
    now = rollouts.clock.now()
    rollouts.store.note_version(rollouts.cluster, record.version, VersionState.UNDONE, now, why)
    lifted = ", and its pause is lifted" if _lift(rollouts, group) else ""
    hint = "; but rollout.paused is set in the file, and holds that too" if _paused_by_file(group) else ""
    rollouts.versions.forget()
    to = version_words(rollouts.versions.target(group).group.version)
    return f"{group.name} goes back from revision {record.version.revision} to {to}{lifted}{hint}"


def declared_record(rollouts: Rollouts, group: Group) -> VersionRecord | None:
    """Return what is remembered of the version that the file declares."""
    if group.version is None:
        return None
    records = rollouts.store.versions(rollouts.cluster, group.name)
    return next((r for r in records if r.version.fingerprint == group.version.fingerprint), None)


def _try_anew(rollouts: Rollouts, group: Group, record: VersionRecord) -> None:
    now = rollouts.clock.now()
    if record.state is VersionState.ROLLING and record.reason == RESUMED:  # what is so already would keep its time
        rollouts.store.forget_version(rollouts.cluster, group.name, record.version.fingerprint, now, RESUMED)
    rollouts.store.note_version(rollouts.cluster, record.version, VersionState.ROLLING, now, RESUMED)


def _lift(rollouts: Rollouts, group: Group) -> bool:
    if group.name not in rollouts.store.pauses(rollouts.cluster):
        return False
    rollouts.store.pause(rollouts.cluster, group.name, None)
    return True


def _paused_by_file(group: Group) -> bool:
    return group.spec is not None and group.spec.rollout.paused
