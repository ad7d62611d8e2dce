"""EventStreams: how many streams of events may be open, and that an event is encoded once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from server.errors import ApiError
from server.http.event_streams import EventStreams
from server.models.admission import CALLER_OF_QUEUE


@contextmanager
def _as(caller: str) -> Iterator[None]:
    token = CALLER_OF_QUEUE.set(caller)
    try:
        yield
    finally:
        CALLER_OF_QUEUE.reset(token)


class _Crowd:
    """Callers that open streams."""

    def __init__(self, streams: EventStreams, stack: ExitStack) -> None:
        self._streams = streams
        self._stack = stack

    def open(self, caller: str, n: int = 1) -> None:
        with _as(caller):
            for _ in range(n):
                self._stack.enter_context(self._streams.count())

    def refusal(self, caller: str) -> ApiError:
        with pytest.raises(ApiError) as info:
            self.open(caller)
        return info.value


def test_one_caller_may_open_a_number_of_streams() -> None:
    streams = EventStreams(per_caller=3, in_all=100)
    with ExitStack() as stack:
        crowd = _Crowd(streams, stack)
        crowd.open("a", 3)
        refusal = crowd.refusal("a")
        crowd.open("b", 3)
    assert (refusal.status, refusal.code) == (429, "too_many_streams")
    assert "has 3 streams of events open, the limit is 3" in refusal.message
    assert int(refusal.headers["Retry-After"]) > 0


def test_when_all_streams_are_taken_a_caller_still_gets_its_share() -> None:
    streams = EventStreams(per_caller=6, in_all=8)
    with ExitStack() as stack:
        crowd = _Crowd(streams, stack)
        crowd.open("a", 6)
        crowd.open("b", 2)
        crowd.open("b", 2)  # half of 8
        refusal = crowd.refusal("b")
        crowd.open("c", 2)  # a third of 8
        assert crowd.refusal("c").status == 503
    assert (refusal.status, refusal.code) == (503, "too_many_streams")
    assert "10 streams" in refusal.message
    assert "limit is 8" in refusal.message


def test_a_closed_stream_makes_room_for_another() -> None:
    streams = EventStreams(per_caller=1, in_all=1)
    for caller in "aab":
        with _as(caller), streams.count():
            pass


def test_an_event_is_encoded_once_for_each_dialect() -> None:
    streams = EventStreams()
    made: list[str] = []

    def make(name: str) -> bytes:
        made.append(name)
        return name.encode()

    event, same = {"type": "state"}, {"type": "state"}
    for one in (event, event, same, event):
        assert streams.text(one, "v2", partial(make, "v2")) == b"v2"
    assert streams.text(event, "other", partial(make, "other")) == b"other"
    assert made == ["v2", "v2", "other"]
