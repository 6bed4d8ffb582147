"""Versions and specs to remember: plain ones, and every one that a file could declare."""

import enum
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from infrakit_py.model.declared import Occurrence, Origin, SourceKind, SourceStatus
from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import ClusterSpec, FlavorSpec, GroupSpec, Image, ImageFile, ImageForm, ProviderSpec

IMAGE: Final = Image(
    "linux", "ab" * 32, ImageForm.KERNEL, {"kernel": ImageFile("/images/kernel", "cd" * 32, 8)}, cmdline="quiet"
)


def version_of(fingerprint: str, group: str = "web", revision: int = 1) -> GroupVersion:
    flavor = FlavorSpec(options={"user_data": "secret"})
    return GroupVersion(GroupSpec(group, "local", "linux", size=3, flavor=flavor), IMAGE, fingerprint, revision)


def spec_of(cluster: str = "shop", size: int = 3, source: str = "/clusters/shop.yml") -> ClusterSpec:
    """Return a spec; those of another size are other revisions."""
    group = GroupSpec("web", "local", "linux", size=size, flavor=FlavorSpec(options={"user_data": "secret"}))
    return ClusterSpec(
        cluster, source, {"local": ProviderSpec("local", "simulated")}, {"linux": IMAGE}, {"web": group}
    )


def origin_of(version: str = "c0ffee", kind: SourceKind = SourceKind.GIT, actor: str = "controller-1") -> Origin:
    return Origin(kind, "ssh://git.example/clusters main", version, actor)


def occurrence_of(number: int, cluster: str = "shop") -> Occurrence:
    """Return something that happened, told apart by a number."""
    return Occurrence(
        float(number), cluster, "web", "created", f"machine {number}", 3, "controller-1", {"count": number}
    )


def source_of(name: str = "git", **digests: str) -> SourceStatus:
    return SourceStatus(name, SourceKind.GIT, in_force="c0ffee", at=1.0, digests=digests)


_SCALARS: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(allow_nan=False),
    str: st.text(st.characters(codec=None), max_size=8),
    type(None): st.none(),
}
_PLAIN: Final = st.recursive(
    st.one_of(*_SCALARS.values()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_SCALARS[str], inner, max_size=3),
    max_leaves=6,
)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Return all values of a type. A field that a later release adds is among them by itself."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(_values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*(_values(argument) for argument in arguments))
    if origin is Mapping:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
    if arguments:
        real = [argument for argument in arguments if argument is not type(None)]
        return st.none() | _values(real[0]) if len(real) == 1 else _PLAIN
    hints = get_type_hints(hint)
    return st.builds(hint, **{field.name: _values(hints[field.name]) for field in fields(hint)})


versions: Final[st.SearchStrategy[GroupVersion]] = st.deferred(lambda: _values(GroupVersion))
specs: Final[st.SearchStrategy[ClusterSpec]] = st.deferred(lambda: _values(ClusterSpec))
