"""Events reach all subscribers, and a slow subscriber delays no other."""

import asyncio
import logging

import msgspec
import pytest

from server.models.event_bus import EventBus, Subscription
from server.models.events import (
    DownloadChanged,
    Lagged,
    LoadProgress,
    ModelEvent,
    ModelsChanged,
    StateChanged,
    UseChanged,
)


def _state(model: str = "m", status: str = "loaded") -> StateChanged:
    return StateChanged(model=model, status=status, previous="loading")


async def test_a_subscriber_gets_published_events_in_order() -> None:
    bus = EventBus()
    bus.publish(_state("before"))
    with bus.subscribe() as events:
        sent = [_state("a"), _state("b")]
        for event in sent:
            bus.publish(event)
        assert [await events.next(), await events.next()] == sent


async def test_a_subscriber_of_one_model_gets_no_events_of_others() -> None:
    bus = EventBus()
    with bus.subscribe("b") as events:
        bus.publish(_state("a"))
        bus.publish(_state("b"))
        assert await events.next() == _state("b")
        assert await events.next(0) is None


async def test_internal_events_are_not_sent_to_subscribers() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(UseChanged(model="m", n_requests=1))
        assert await events.next(0) is None


async def test_a_slow_reader_loses_the_oldest_events_and_gets_their_number() -> None:
    events = Subscription(limit=3)
    for number in range(5):
        events.offer(_state(str(number)))
    lagged = await events.next()
    assert isinstance(lagged, Lagged)
    assert lagged.missed == 2
    assert [await events.next(0) for _ in range(4)] == [*map(_state, "234"), None]


async def test_only_the_newest_progress_is_queued() -> None:
    events = Subscription(limit=3)
    for hundredth in range(100):
        events.offer(LoadProgress(model="m", progress=hundredth / 100))
    newest = await events.next()
    assert isinstance(newest, LoadProgress)
    assert newest.progress == 0.99
    assert await events.next(0) is None


async def test_a_waiting_reader_is_woken_and_an_ended_subscription_gets_nothing() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        waiting = asyncio.create_task(events.next())
        await asyncio.sleep(0)
        bus.publish(_state())
        assert await waiting == _state()
    bus.publish(_state())
    assert await events.next(0) is None


async def test_closing_ends_every_subscription_after_its_queued_events() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(_state())
        bus.close()
        assert not events.has_ended
        assert await events.next() == _state()
        assert (events.has_ended, await events.next()) == (True, None)
    with bus.subscribe() as late:
        assert late.has_ended


async def test_a_failing_listener_does_not_affect_others(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    seen: list[ModelEvent] = []

    def fails(event: ModelEvent) -> None:
        raise KeyError(event)

    bus.listen(fails)
    bus.listen(seen.append)
    with caplog.at_level(logging.CRITICAL, "server.models.event_bus"):
        bus.publish(_state())
    assert seen == [_state()]


def test_an_event_has_its_type_and_a_utc_time() -> None:
    document = msgspec.to_builtins(_state())
    assert document["type"] == "state"
    assert document["time"].endswith("Z")
    assert "." not in document["time"]


def _download(name: str, done: int) -> DownloadChanged:
    return DownloadChanged(download={"id": name, "bytes_done": done})


async def test_a_slow_reader_gets_the_newest_event_of_each_download() -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        for done in range(1000):
            bus.publish(_download("a", done))
            bus.publish(_download("b", done))
        bus.publish(ModelsChanged(removed=("m",)))
        received = [await events.next() for _ in range(3)]
    downloads = [event.download for event in received if isinstance(event, DownloadChanged)]
    assert downloads == [{"id": "a", "bytes_done": 999}, {"id": "b", "bytes_done": 999}]
    assert isinstance(received[-1], ModelsChanged)


async def test_events_of_one_model_are_without_downloads() -> None:
    bus = EventBus()
    with bus.subscribe("m.gguf") as events:
        bus.publish(_download("a", 1))
        bus.publish(ModelsChanged())
        assert await events.next(0) is None
