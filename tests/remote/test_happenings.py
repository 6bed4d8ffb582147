"""Server-sent events: read as the standard says, and followed over broken connections without losing one."""

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.remote.address import address
from infrakit_py.remote.client import Client
from infrakit_py.remote.faults import ServerError
from infrakit_py.remote.happenings import Sent, events, follow
from tests.remote.host import Asked, Reply, host


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"id: 1\nevent: ready\ndata: x\n\n", [Sent("1", "x")]),
        (b"id:1\r\ndata:x\r\n\r\n", [Sent("1", "x")]),
        (b"data: a\ndata: b\n\n", [Sent("", "a\nb")]),
        (b": still here\n\ndata: x\n\n", [Sent("", "x")]),
        (b"id: 1\ndata: x\n\ndata: y\n\n", [Sent("1", "x"), Sent("1", "y")]),
        (b"id: 2\n\ndata: x\n\n", [Sent("2", "x")]),
        (b"data:  two\n\n", [Sent("", " two")]),
        (b"data\n\n", [Sent("", "")]),
        (b"retry: 5\nother: 1\ndata: x\n\n", [Sent("", "x")]),
        (b"data: cut off\n", []),
        (b"data: \xff\n\n", [Sent("", "\ufffd")]),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, expected: list[Sent]) -> None:
    assert list(events(stream.splitlines(keepends=True))) == expected


@given(st.lists(st.tuples(st.integers(1), st.text())))
def test_what_was_sent_as_json_comes_as_it_was(sent: list[tuple[int, str]]) -> None:
    stream = "".join(f"id: {number}\ndata: {json.dumps(text)}\n\n" for number, text in sent)
    found = list(events(stream.encode().splitlines(keepends=True)))
    assert [(int(one.id), json.loads(one.data)) for one in found] == sent


def stream(*numbers: int) -> Reply:
    lines = (f"id: {number}\ndata: {json.dumps({'id': number})}\n\n" for number in numbers)
    return Reply(b": hello\n\n" + "".join(lines).encode(), content_type="text/event-stream")


def followed(url: str, count: int, told: list[ServerError]) -> list[object]:
    clock = VirtualClock()
    asked = Client(address(url), 5.0, clock)
    return [one["id"] for one in islice(follow(asked, clock, 3, "shop", told.append), count)]


def test_a_broken_stream_goes_on_after_the_last_event() -> None:
    replies = [stream(4, 5), stream(), Reply(hangs_up=True), Reply(b"{}", 503), stream(6), stream(7)]
    told: list[ServerError] = []
    with host(lambda _: replies.pop(0)) as there:
        assert followed(there.url, 4, told) == [4, 5, 6, 7]
    assert [asked.headers["last-event-id"] for asked in there.asked] == ["3", "5", "5", "5", "5", "6"]
    assert there.asked[1].target == "/v1/events/stream?after=5&cluster=shop"
    assert len(told) == 1, "one loss is said once, however often it is tried"


def test_a_refusal_ends_it() -> None:
    def answer(asked: Asked) -> Reply:
        return stream(4) if asked.headers["last-event-id"] == "3" else Reply(b"{}", 401)

    with host(answer) as there, pytest.raises(UsageError):
        followed(there.url, 2, [])


def test_what_is_no_stream_of_events_is_not_read() -> None:
    told: list[ServerError] = []
    replies = [Reply(b"<html>", content_type="text/html"), stream(4)]
    with host(lambda _: replies.pop(0)) as there:
        assert followed(there.url, 1, told) == [4]
    assert "sends text/html where events were asked for" in str(told[0])


def test_an_event_that_is_no_json_is_an_error() -> None:
    with (
        host(lambda _: Reply(b"id: 4\ndata: {\n\n", content_type="text/event-stream")) as there,
        pytest.raises(InfrakitError, match="no JSON"),
    ):
        followed(there.url, 1, [])
