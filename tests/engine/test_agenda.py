from math import inf

from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.engine.agenda import Agenda

NAMES = ("web", "db", "jobs")


def test_all_are_due_in_the_beginning_in_their_order() -> None:
    agenda = Agenda(NAMES)
    assert agenda.next() == -inf
    assert [name for name, _ in agenda.take(0.0)] == list(NAMES)
    assert agenda.next() == inf
    assert agenda.take(1e9) == []


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 100) | st.just(inf)), max_size=200))
def test_only_the_last_word_on_a_name_counts(planned: list[tuple[str, float]]) -> None:
    agenda = Agenda(NAMES)
    agenda.take(0.0)
    for name, due in planned:
        agenda.put(name, due)
    last = dict(planned)
    expected = sorted((due, NAMES.index(name), name) for name, due in last.items() if due < inf)
    assert agenda.next() == (expected[0][0] if expected else inf)
    assert agenda.take(100.0) == [(name, due) for due, _, name in expected]
