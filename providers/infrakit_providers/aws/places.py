"""Which machine of a call is which: EC2 makes many by one call, all with the same tags, and numbers them.

The call's tags name the places (slot and incarnation) of all its machines in order; a machine's AmiLaunchIndex says
which of them is its own. So every tag is there from the first moment, and none is written afterwards. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from infrakit_py.model import tags

PREFIX: Final = "infrakit.aws."
"""Tags that are this provider's own business, and are shown to nobody."""
PLACES: Final = f"{PREFIX}slots"
TARGETS: Final = f"{PREFIX}target_groups"
DISKS: Final = f"{PREFIX}disks"
ADDRESS: Final = f"{PREFIX}address"
PROTECTED: Final = f"{PREFIX}termination_protection"
"""The spec asked for EC2's termination protection: then it is ours to lift. Without it a person set it."""
PERSISTENT: Final = f"{PREFIX}spot_request"
"""The spot request outlives its machine, and must be cancelled before it."""
NAME: Final = "Name"

VALUE_LIMIT: Final = 256
"""Characters in a tag's value, and `KEYS` tags that places may be spread over, so that there are never more than 50.

Source: EC2 User Guide, "Tag restrictions".
"""
KEYS: Final = 6

_RUN: Final = re.compile(r"(\d+)(?:-(\d+)(?:/(\d+))?)?\.(\d+)")


class Place(NamedTuple):
    """A slot and the incarnation of its machine."""

    slot: int
    incarnation: int


class _Run(NamedTuple):
    """Slots at equal distances, of one incarnation. A `step` of 0 is that of a single one."""

    first: int
    last: int
    step: int
    incarnation: int

    @property
    def length(self) -> int:
        return (self.last - self.first) // (self.step or 1) + 1

    @property
    def text(self) -> str:
        if self.first == self.last:
            return f"{self.first}.{self.incarnation}"
        step = f"/{self.step}" if self.step > 1 else ""
        return f"{self.first}-{self.last}{step}.{self.incarnation}"

    def at(self, index: int) -> Place:
        return Place(self.first + index * (self.step or 1), self.incarnation)


def written(places: Iterable[Place]) -> str:
    """Write ascending places: `0-9/3.0 11.2` are the slots 0, 3, 6 and 9 for the first time, and 11 for the third."""
    runs: list[_Run] = []
    for slot, incarnation in places:
        last = runs[-1] if runs else None
        if last is None or last.incarnation != incarnation or (last.step and slot - last.last != last.step):
            runs.append(_Run(slot, slot, 0, incarnation))
        else:
            runs[-1] = _Run(last.first, slot, slot - last.last, incarnation)
    return " ".join(run.text for run in runs)


def read(text: str) -> tuple[Place, ...]:
    """Read what `written` wrote. ValueError for anything else."""
    places: list[Place] = []
    for word in text.split():
        match = _RUN.fullmatch(word)
        if match is None:
            raise ValueError(f"not a run of slots: {word!r}")
        run = _run(match)
        places += [run.at(index) for index in range(run.length)]
    return tuple(places)


def spread(key: str, words: Sequence[str]) -> dict[str, str]:
    """Spread words over as many tags as their length needs: `key`, `key.1`, and so on."""
    values = [""]
    for word in words:
        longer = f"{values[-1]} {word}".strip()
        if len(longer) <= VALUE_LIMIT:
            values[-1] = longer
        else:
            values.append(word)
    return {f"{key}.{index}" if index else key: value for index, value in enumerate(values) if value}


def gathered(key: str, held: Mapping[str, str]) -> str:
    """Return the words that were spread over tags, in order."""
    if key not in held:
        return ""
    values = [held[key]]
    while (more := held.get(f"{key}.{len(values)}")) is not None:
        values.append(more)
    return " ".join(values)


def fit(places: Iterable[Place]) -> bool:
    """Tell whether places can be written into the tags of one machine."""
    return len(spread(PLACES, written(places).split())) <= KEYS


def shared(own: Mapping[str, str], places: Sequence[Place]) -> dict[str, str]:
    """Return the tags that all machines of a call carry: `own` are those of any of them."""
    common = {key: value for key, value in own.items() if key not in (tags.SLOT, tags.INCARNATION, tags.TOKEN)}
    return common | spread(PLACES, written(places).split())


def own_tags(held: Mapping[str, str], launch_index: int) -> dict[str, str]:
    """Return what a machine's tags say of it: those of its call, and which of its machines it is.

    Tags that were given to it later, and are its own, win. Tags that cannot be read leave it without a slot.
    """
    own = {k: v for k, v in held.items() if not k.startswith(PREFIX) and not k.startswith("aws:")}
    if own.get(NAME) == name_of(own):
        del own[NAME]
    if PLACES in held:
        place = _at(gathered(PLACES, held), launch_index)
        if place is not None:
            cluster, group = held.get(tags.CLUSTER, ""), held.get(tags.GROUP, "")
            own.setdefault(tags.SLOT, str(place.slot))
            own.setdefault(tags.INCARNATION, str(place.incarnation))
            own.setdefault(tags.TOKEN, tags.token(cluster, group, str(place.slot), place.incarnation))
    return own


def name_of(own: Mapping[str, str]) -> str:
    """Return what EC2's console shows a machine as: its group, and its own name where it has one."""
    name = own.get(tags.LOGICAL_ID) or own.get(tags.GROUP, "")
    return f"{own.get(tags.CLUSTER, '')}/{name}"


def _at(text: str, index: int) -> Place | None:
    """Return the place of that number without making all of them: a listing asks for each machine of a call."""
    for match in _RUN.finditer(text):
        run = _run(match)
        if index < run.length:
            return run.at(index)
        index -= run.length
    return None


def _run(match: re.Match[str]) -> _Run:
    first, last, step, incarnation = match.groups()
    return _Run(int(first), int(last or first), int(step or 1), int(incarnation))
