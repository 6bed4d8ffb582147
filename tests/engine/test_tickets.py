"""What a provider arranged is written down before it is asked for, and given back with every repetition."""

from collections.abc import Sequence

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_py.engine.converge import End
from infrakit_py.spi.provider import Outcome, ProvisionRequest
from tests.engine.harness import Lab, group


class Arranging(SimulatedProvider):
    """Numbers its tickets, and notes those that come back. Of each batch it forgets some."""

    def __init__(self, cloud: SimCloud, forgets: int) -> None:
        super().__init__(cloud)
        self.made = 0
        self.seen: list[list[str]] = []
        self._forgets = forgets

    def arrange(self, requests: Sequence[ProvisionRequest]) -> Sequence[str]:
        first, self.made = self.made, self.made + len(requests)
        return [f"t{number}" for number in range(first, self.made - self._forgets)]

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        self.seen.append([request.ticket for request in requests])
        return super().provision(requests)


def lab(forgets: int = 0) -> tuple[Lab, Arranging]:
    made = Lab({"listing_lag": "30s"})
    provider = Arranging(made.cloud, forgets)
    made.provider = provider
    return made, provider


def test_a_repetition_after_a_lost_reply_has_the_same_ticket() -> None:
    made, provider = lab()
    made.cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    assert made.run(group(size=2)).end is End.CONVERGED
    assert provider.seen == [["t0", "t1"], ["t0", "t1"]]


def test_a_creation_that_was_refused_is_arranged_anew() -> None:
    made, provider = lab()
    made.cloud.fail(Call.PROVISION, Fault.CAPACITY)
    assert made.run(group(size=2)).end is End.CONVERGED
    assert provider.seen == [["t0", "t1"], ["t2", "t3"]]


def test_a_repetition_that_is_turned_away_leaves_the_first_try_in_doubt() -> None:
    made, provider = lab()
    made.cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    made.cloud.fail(Call.PROVISION, Fault.THROTTLED)
    assert made.run(group(size=2)).end is End.CONVERGED
    assert provider.seen == [["t0", "t1"]] * 3


def test_a_provider_that_writes_too_few_tickets_is_told_so_and_asked_for_nothing() -> None:
    made, provider = lab(forgets=1)
    assert made.run(group(size=2)).end is not End.CONVERGED
    assert "bug in the provider: 1 tickets for 2 requests" in str(made.events)
    assert not provider.seen
