"""Events reach everybody who asked, and nobody who is slow holds up the others."""

import asyncio
import logging

import msgspec
import pytest

from server.models.event_bus import EventBus, Subscription
from server.models.events import Lagged, LoadProgress, ModelEvent, StateChanged, UseChanged


def _state(model: str = "m", status: str = "loaded") -> StateChanged:
    return StateChanged(model=model, status=status, previous="loading")


async def test_a_subscriber_gets_what_is_published_in_order() -> None:
    bus = EventBus()
    bus.publish(_state("before"))
    with bus.subscribe() as events:
        sent = [_state("a"), _state("b")]
        for event in sent:
            bus.publish(event)
        assert [await events.next(), await events.next()] == sent


async def test_a_subscriber_of_one_model_hears_of_no_other() -> None:
    bus = EventBus()
    with bus.subscribe("b") as events:
        bus.publish(_state("a"))
        bus.publish(_state("b"))
        assert await events.next() == _state("b")
        assert await events.next(0) is None


async def test_what_is_for_our_own_parts_is_not_sent_out() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(UseChanged(model="m", n_requests=1))
        assert await events.next(0) is None


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    events = Subscription(limit=3)
    for number in range(5):
        events.offer(_state(str(number)))
    lagged = await events.next()
    assert isinstance(lagged, Lagged)
    assert lagged.missed == 2
    assert [await events.next(0) for _ in range(4)] == [*map(_state, "234"), None]


async def test_only_the_newest_progress_waits() -> None:
    events = Subscription(limit=3)
    for hundredth in range(100):
        events.offer(LoadProgress(model="m", progress=hundredth / 100))
    newest = await events.next()
    assert isinstance(newest, LoadProgress)
    assert newest.progress == 0.99
    assert await events.next(0) is None


async def test_a_reader_that_waits_is_woken_and_one_that_left_costs_nothing() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        waiting = asyncio.create_task(events.next())
        await asyncio.sleep(0)
        bus.publish(_state())
        assert await waiting == _state()
    bus.publish(_state())
    assert await events.next(0) is None


async def test_closing_ends_every_stream_after_what_waits() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(_state())
        bus.close()
        assert not events.has_ended
        assert await events.next() == _state()
        assert events.has_ended
        assert await events.next() is None
    with bus.subscribe() as late:
        assert late.has_ended


async def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    seen: list[ModelEvent] = []

    def fails(event: ModelEvent) -> None:
        raise KeyError(event.model)

    bus.listen(fails)
    bus.listen(seen.append)
    with caplog.at_level(logging.CRITICAL, "server.models.event_bus"):
        bus.publish(_state())
    assert seen == [_state()]


def test_an_event_says_what_it_is_and_when_in_utc() -> None:
    document = msgspec.to_builtins(_state())
    assert document["type"] == "state"
    assert document["time"].endswith("Z")
    assert "." not in document["time"]
