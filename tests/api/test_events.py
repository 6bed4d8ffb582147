"""What happens, told as it happens."""

import socket
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

import pytest

from infrakit_py.api.server import RunningServer
from infrakit_py.errors import StoreError
from infrakit_py.model.declared import Occurrence
from tests.api.asking import READER, Asking, told
from tests.api.site import Site
from tests.cli.shell import eventually


def many(site: Site, count: int) -> None:
    """Let a lot happen at once."""
    now = site.clock.now()
    site.store.note_occurrences(
        [Occurrence(now, "shop", "web", "created", f"machine {number} {'x' * 500}") for number in range(count)]
    )


def test_who_listens_hears_what_happens_from_then_on(api: Asking, site: Site) -> None:
    site.happen("before")
    with api.stream() as stream:
        assert stream.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert stream.readline() == b"retry: 2000\n"
        number = site.happen("then", kind="destroyed")

        (event,) = told(stream, 1)

    assert (event["text"], event["event"], event["_event"]) == ("then", "destroyed", "destroyed")
    assert (event["id"], event["_id"]) == (number, str(number))


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(api: Asking, site: Site) -> None:
    first = site.happen("one")
    with api.stream(f"/v1/events/stream?after={first - 1}") as stream:
        last = told(stream, 1)[-1]["_id"]
    site.happen("two")
    site.happen("three")

    with api.stream("/v1/events/stream?after=0", **{"Last-Event-ID": last}) as stream:
        site.happen("four")

        assert [event["text"] for event in told(stream, 3)] == ["two", "three", "four"]


def test_who_listens_to_one_cluster_hears_of_that_alone(api: Asking, site: Site) -> None:
    site.happen("ours, long ago")
    site.happen("theirs, long ago", cluster="other")
    with api.stream("/v1/events/stream?cluster=other&after=0") as stream:
        assert [event["text"] for event in told(stream, 1)] == ["theirs, long ago"]
        site.happen("ours")
        site.happen("theirs", cluster="other")

        assert [event["text"] for event in told(stream, 1)] == ["theirs"]


def test_a_text_of_several_lines_is_one_event(api: Asking, site: Site) -> None:
    with api.stream("/v1/events/stream?after=0") as stream:
        site.happen("a\n\ndata: forged\r\nid: 7", kind="a\nb")

        (event,) = told(stream, 1)

    assert (event["text"], event["_event"]) == ("a\n\ndata: forged\r\nid: 7", "a b")


def test_all_hear_of_everything_though_one_of_them_does_not_read(
    api: Asking, site: Site, server: RunningServer
) -> None:
    parts = urlsplit(server.url)
    with ExitStack() as stack:
        lazy = stack.enter_context(socket.socket())
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.settimeout(30)
        lazy.connect((parts.hostname, parts.port))
        lazy.sendall(f"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READER}\r\n\r\n".encode())
        assert lazy.recv(100).startswith(b"HTTP/1.1 200")
        eager = stack.enter_context(api.stream())
        eager.readline()
        for _ in range(10):
            many(site, 1_000)

        heard = told(eager, 10_000)

        assert [event["id"] for event in heard] == list(range(heard[0]["id"], heard[0]["id"] + 10_000))
        late = lazy.makefile("rb")
        last = heard[-1]["id"]
        assert any(line == f"id: {last}\n".encode() for line in late)


def test_only_so_many_may_listen(api: Asking, site: Site) -> None:
    with api.at_once(100, "/v1/events/stream") as listening:
        assert {connection.getresponse().status for connection in listening} == {200}

        refused = api.get("/v1/events/stream")

        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    eventually(lambda: _listens(api), "there is room again")


def _listens(api: Asking) -> bool:
    with api.stream() as stream:
        return stream.status == 200


def test_a_store_that_does_not_answer_for_a_while_costs_no_event(api: Asking, site: Site) -> None:
    with api.stream() as stream:
        stream.readline()
        site.failure = StoreError("etcd: does not answer")
        before = site.looks
        eventually(lambda: site.looks > before, "the store is asked, and does not answer")
        site.happen("meanwhile")
        site.failure = None

        assert [event["text"] for event in told(stream, 1)] == ["meanwhile"]


def test_a_feed_that_broke_ends_its_streams_and_begins_anew(api: Asking, site: Site) -> None:
    with api.stream() as stream:
        stream.readline()
        site.failure = ZeroDivisionError("a bug")
        stream.read()  # to its end
    site.failure = None

    with api.stream("/v1/events/stream?after=0") as stream:
        site.happen("afterwards")
        assert [event["text"] for event in told(stream, 1)] == ["afterwards"]


def test_streams_end_when_tokens_are_read_anew_and_when_the_server_stops(api: Asking, server: RunningServer) -> None:
    with api.stream() as stream:
        stream.readline()
        server.reload()
        stream.read()
    with api.stream() as stream:
        stream.readline()
        server.stop()
        stream.read()


@pytest.mark.long
@pytest.mark.slow
def test_a_stream_in_which_nothing_happens_is_kept_alive(api: Asking) -> None:
    with api.stream() as stream:
        assert [stream.readline() for _ in range(4)] == [b"retry: 2000\n", b"\n", b":\n", b"\n"]


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 20, "9" * 19, "²"])
def test_a_wrong_last_event_is_refused(api: Asking, last: str) -> None:
    answer = api.get("/v1/events/stream", **{"Last-Event-ID": last.encode().decode("latin-1")})

    assert (answer.status, answer.document["detail"]) == (400, "Last-Event-ID: must be the number of an event")


def test_head_of_a_stream_ends(api: Asking) -> None:
    answer = api.ask("HEAD", "/v1/events/stream")

    assert (answer.status, answer.content) == (200, b"")


def test_the_store_is_asked_while_somebody_listens_and_not_otherwise(api: Asking, site: Site) -> None:
    with api.stream() as stream:
        stream.readline()
        eventually(lambda: site.looks > 2, "the store is asked again and again")

    eventually(partial(_rests, site), "nobody asks the store any more")


def _rests(site: Site) -> bool:
    """Tell whether nobody asks within four times the usual pause."""
    before = site.looks
    site.clock.sleep(2)
    return site.looks == before
