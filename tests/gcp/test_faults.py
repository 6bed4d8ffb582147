"""What errors of Compute Engine mean, and what is not said of them."""

from collections.abc import Iterator
from random import Random

import pytest

from infrakit_providers.cloud.repeating import Repeater
from infrakit_providers.gcp.faults import NotThere, classified, of_operation
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ImageMissing, NoCapacity, ProviderError, QuotaExceeded, Throttled, Transient


@pytest.mark.parametrize(
    ("reason", "status", "said", "kind"),
    [
        ("notFound", 404, "The resource 'projects/p/global/images/web-1' was not found", ImageMissing),
        (
            "invalid",
            400,
            "'projects/p/global/images/x'. The referenced image resource cannot be found.",
            ImageMissing,
        ),
        ("notFound", 404, "The resource 'projects/image/zones/z/instances/shop-image-0' was not found", NotThere),
        ("notFound", 404, "The resource 'projects/p/zones/z/operations/image-1' was not found", NotThere),
        ("invalid", 400, "'zones/z/machineTypes/n9-standard-2'. The referenced resource does not exist.", NoCapacity),
        ("insufficientCapacity", 503, "The zone does not have enough resources available", NoCapacity),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", 503, "", NoCapacity),
        ("QUOTA_EXCEEDED", 403, "Quota 'CPUS' exceeded.", QuotaExceeded),
        ("rateLimitExceeded", 403, "", Throttled),
        ("backendError", 503, "", Transient),
        ("somethingNew", 400, "", ProviderError),
    ],
)
def test_a_reason_has_its_class(reason: str, status: int, said: str, kind: type[ProviderError]) -> None:
    assert type(classified(reason, status, said, f"gcp: cannot create image-0: {said}")) is kind


def test_what_is_refused_of_metadata_is_not_repeated() -> None:
    said = "Invalid value for field 'resource.metadata.items[0].value': 'password: hunter2'. Too long."
    error = of_operation([("invalid", said)], 400, "create web-0")
    assert "hunter2" not in str(error)
    assert "resource.metadata.items[0].value" in str(error)


def answering(*answers: Exception) -> Iterator[Exception]:
    yield from answers


@pytest.mark.parametrize("last", [Throttled("too many"), ProviderError("401")], ids=["throttled", "refused"])
def test_after_a_lost_answer_nobody_is_told_that_nothing_was_done(last: ProviderError) -> None:
    answers = answering(Transient("connection reset"), *[last] * 4)

    def call() -> None:
        raise next(answers)

    repeater = Repeater(VirtualClock(), Random(1))
    with pytest.raises(Transient) as caught:
        repeater.repeated(call, changes=True)
    assert (type(caught.value), caught.value.tried_again) == (Transient, True)


def test_what_is_not_there_after_a_lost_answer_is_not_there() -> None:
    answers = answering(Transient("connection reset"), NotThere("404"))

    def call() -> None:
        raise next(answers)

    with pytest.raises(NotThere):
        Repeater(VirtualClock(), Random(1)).repeated(call, changes=True, definite=(NotThere,))
