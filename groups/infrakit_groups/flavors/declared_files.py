"""The files that a user declares for LinuxKit: what is wrong with them, and a member's user data made of them.

Messages name the file and the mistake, never the text around it: files may hold secrets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from infrakit_groups.flavors.linuxkit_files import Entry, conflicts, is_directory, user_data_of
from infrakit_groups.flavors.user_data import Template, TemplateFault
from infrakit_groups.flavors.vanilla_options import SIZE_LIMIT, SOURCES_OF_A_FILE, FileEntry
from infrakit_py.errors import Problem, SpecError
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.flavor import MemberIdentity

_KIB: Final = 1024


def complaints(files: Mapping[str, FileEntry], members: Iterable[MemberIdentity]) -> Iterator[Complaint]:
    """Find what is wrong with files for any of these members. Paths of complaints start at the mapping of files."""
    members = tuple(members)
    yield from _faults(files)
    sizes = []
    for path, entry in files.items():
        complaint, size = _rendered(path, entry, members)
        sizes.append(size)
        if complaint is not None:
            yield complaint
    if sum(sizes) > SIZE_LIMIT:
        yield Complaint((), f"the files hold more than {SIZE_LIMIT // _KIB} KiB together")


def user_data(files: Mapping[str, FileEntry], member: MemberIdentity) -> bytes:
    """Make one member's user data. SpecError where the files give none."""
    whose = f"user data of {member.cluster}/{member.group}/{member.name}"
    for complaint in _faults(files):
        raise SpecError([Problem(whose, 1, 1, complaint.message)])
    entries = {}
    for path, entry in files.items():
        try:
            entries[path] = Entry(_content(entry, member), entry.perm)
        except TemplateFault as fault:
            raise SpecError([Problem(f"{whose}, file {path}", fault.line, 1, fault.message)]) from fault
    return user_data_of(entries, hostname=member.name)


def _faults(files: Mapping[str, FileEntry]) -> Iterator[Complaint]:
    """Find what is wrong whoever the member is."""
    for path, message in conflicts(files):
        yield Complaint((path,), f"{path!r} {message}")
    for path, entry in files.items():
        has_content = entry.content is not None or entry.text is not None
        if is_directory(path) and has_content:
            yield Complaint((path,), f"{path!r} ends in '/' and is a directory: it takes nothing but a perm")
        elif not is_directory(path) and not has_content:
            yield Complaint((path,), f"{path!r} must hold exactly one of {SOURCES_OF_A_FILE}")


def _rendered(path: str, entry: FileEntry, members: Sequence[MemberIdentity]) -> tuple[Complaint | None, int]:
    """Render for each member: the first fault (the others fail for the same reason), and the largest size."""
    if entry.content is None:
        return None, len((entry.text or "").encode())
    largest = 0
    for member in members:
        try:
            largest = max(largest, len(Template(entry.content).render(member).encode()))
        except TemplateFault as fault:
            return Complaint((path, "content"), fault.message, fault.line - 1), largest
    return None, largest


def _content(entry: FileEntry, member: MemberIdentity) -> str | None:
    return entry.text if entry.content is None else Template(entry.content).render(member)
