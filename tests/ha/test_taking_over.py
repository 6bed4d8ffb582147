"""Who takes over the reading of a source knows what its predecessor had come to, wherever that ended."""

from collections.abc import Callable

import pytest

from infrakit_py.errors import StoreError
from tests.app.test_intake import Said, begun, spec


def test_a_change_that_was_half_taken_up_and_is_taken_back_is_taken_back_everywhere() -> None:
    site = begun(spec("one"), spec("two"))
    site.source.says("c2", spec("one", 4), spec("two", 4))
    site.intake.look()
    with pytest.raises(StoreError):
        site.intake.put_in_force(dies_before("two"))
    assert site.store.declared()["one"].spec == spec("one", 4)

    site.again(Said(spec("one"), spec("two")))
    site.begin()

    found = {name: declared.spec for name, declared in site.store.declared().items()}
    assert found == {"one": spec("one"), "two": spec("two")}


def dies_before(which: str) -> Callable[[str], bool]:
    """Let a controller end in the middle of what it puts in force."""

    def may(cluster: str) -> bool:
        if cluster == which:
            raise StoreError("gone")
        return True

    return may
