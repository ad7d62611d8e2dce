"""429: the queue of a model is full, or the queue for its load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from server.errors import QueueFullError
from server.metrics import ServerMetrics
from server.models.admission import CALLER_OF_QUEUE, Admission, ModelAdmission
from server.streams.token_stream import TokenStream
from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, chat_body, make_app, pause

_N_PARALLEL = 4
_STREAM = "/api/v2/chat/m.gguf/stream"


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    return await aiohttp_client(make_app(tmp_path, max_queue=1))


@asynccontextmanager
async def _streams(client: Client, count: int) -> AsyncIterator[None]:
    """`count` endless SSE streams that have begun."""
    responses = [await client.post(_STREAM, json=chat_body("forever")) for _ in range(count)]
    for response in responses:
        assert response.status == 200
    try:
        yield
    finally:
        for response in responses:
            response.close()


async def _refusal(response: ClientResponse) -> dict[str, object]:
    assert response.status == 429
    assert response.content_type == "application/json"
    error: dict[str, object] = (await response.json())["error"]
    assert response.headers["Retry-After"] == str(error["retry_after"])
    return error


@pytest.mark.parametrize("path", [_STREAM, "/api/v2/chat/m.gguf"])
async def test_a_full_queue_is_a_429_with_the_queue_length(client: Client, path: str) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    async with _streams(client, _N_PARALLEL + 1):
        error = await _refusal(await client.post(path, json=chat_body("echo: a")))
    assert error["type"] == "rate_limit_error"
    assert error["code"] == "queue_full"
    assert (error["queue_length"], error["queue_position"], error["max_queue"]) == (1, 2, 1)
    seen = await scrape(client)
    assert seen.value("llamabind_requests_refused_total", reason="queue_full") == 1
    assert seen.value("llamabind_requests_received_total") == _N_PARALLEL + 2


@pytest.mark.parametrize(("is_trusted", "status"), [(True, 200), (False, 429)])
async def test_a_proxy_tells_the_clients_of_a_queue_apart_where_it_is_trusted(
    aiohttp_client: AiohttpClient, tmp_path: Path, is_trusted: bool, status: int
) -> None:
    write_gguf(tmp_path / "m.gguf")
    keys = {"admin_keys": ("proxy",), "insecure_no_auth": True}
    client = await aiohttp_client(
        make_app(tmp_path, max_queue=1, proxied_clients=is_trusted, **keys)
    )
    greedy, other = (
        {"Authorization": "Bearer proxy", "X-Client": name} for name in ("10.0.0.1", "key-0a")
    )
    await client.post("/api/v2/models/m.gguf/load", headers=greedy)
    responses = [
        await client.post(_STREAM, json=chat_body("forever"), headers=greedy)
        for _ in range(_N_PARALLEL + 2)
    ]
    assert [response.status for response in responses] == [200] * (_N_PARALLEL + 1) + [429]
    answer = await client.post(_STREAM, json=chat_body("echo: a"), headers=other)
    assert answer.status == status
    for response in (*responses, answer):
        response.close()


async def test_another_key_finds_a_place_in_a_queue_that_one_key_has_filled(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, max_queue=1, api_keys=("a", "b")))
    greedy, other = ({"Authorization": f"Bearer {key}"} for key in "ab")
    await client.post("/api/v2/models/m.gguf/load", headers=greedy)
    responses = [
        await client.post(_STREAM, json=chat_body("forever"), headers=greedy)
        for _ in range(_N_PARALLEL + 2)
    ]
    assert [response.status for response in responses] == [200] * (_N_PARALLEL + 1) + [429]
    answer = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"), headers=other)
    assert answer.status == 200
    for response in responses:
        response.close()


def test_callers_above_their_share_of_a_full_queue_are_refused() -> None:
    admission = Admission(ServerMetrics(), max_queue=6)
    with ExitStack() as stack:

        def admitted(caller: str) -> bool:
            CALLER_OF_QUEUE.set(caller)
            try:
                stack.enter_context(admission.request("m", 2, TokenStream("r")))
            except QueueFullError:
                return False
            return True

        assert [admitted("a") for _ in range(9)] == [True] * 8 + [False]
        # Half of the 8 places, then a third for each further caller.
        assert [admitted("b") for _ in range(5)] == [True] * 4 + [False]
        assert [admitted("c") for _ in range(3)] == [True] * 2 + [False]
        assert not admitted("a")
        assert not admitted("b")
        assert admission.n_requests("m") == 14
    assert admission.n_requests("m") == 0
    CALLER_OF_QUEUE.set("")


def test_requests_that_are_paused_take_no_places_of_the_queue() -> None:
    admission = Admission(ServerMetrics(), max_queue=2)
    CALLER_OF_QUEUE.set("slow")
    with ExitStack() as stack:
        streams = [TokenStream(str(number)) for number in range(4)]
        for stream in streams:
            stack.enter_context(admission.request("m", 2, stream))
            stream.first_token_at = 1.0
        with pytest.raises(QueueFullError), admission.request("m", 2, TokenStream("full")):
            pass
        for stream in streams:
            stream.pending.is_paused = True
        for number in range(4):
            stack.enter_context(admission.request("m", 2, TokenStream(f"new {number}")))
        with pytest.raises(QueueFullError), admission.request("m", 2, TokenStream("full")) as _:
            pass
    assert admission.n_requests("m") == 0
    CALLER_OF_QUEUE.set("")


async def test_a_request_is_admitted_again_once_others_have_ended(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    async with _streams(client, _N_PARALLEL + 1):
        pass
    async with asyncio.timeout(20):
        while (await client.post(_STREAM, json=chat_body("echo: a"))).status == 429:
            await pause()


async def test_the_queue_for_a_load_is_bounded_too(client: Client) -> None:
    first = asyncio.ensure_future(client.post("/api/v2/chat/slow.gguf", json=chat_body("x")))
    async with asyncio.timeout(20):
        while not (await scrape(client)).value("llamabind_requests_in_progress", model="slow.gguf"):
            await pause()
    error = await _refusal(await client.post("/api/v2/chat/slow.gguf", json=chat_body("x")))
    assert error["queue_length"] == 1
    seen = await scrape(client)
    assert seen.value("llamabind_requests_refused_total", reason="load_queue_full") == 1
    first.cancel()


async def test_a_full_queue_of_one_model_does_not_affect_other_models(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "n.gguf")
    client = await aiohttp_client(make_app(tmp_path, max_queue=0))
    await client.post("/api/v2/models/m.gguf/load")
    async with _streams(client, _N_PARALLEL):
        refused = await client.post(_STREAM, json=chat_body("echo: a"))
        served = await client.post("/api/v2/chat/n.gguf", json=chat_body("echo: a"))
    assert (refused.status, served.status) == (429, 200)


def test_the_first_request_for_a_model_is_admitted_even_with_max_queue_0() -> None:
    admission = Admission(ServerMetrics(), max_queue=0)
    with admission.request("m", None, TokenStream("1")):
        assert admission.n_requests("m") == 1
    assert admission.n_requests("m") == 0


def test_retry_after_follows_the_rate_at_which_requests_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("server.models.admission.time.monotonic", lambda: now)
    admission = ModelAdmission()
    assert admission.seconds_for(3) == 5, "default while no request has ended"
    for _ in range(5):
        admission.record_end()
        now += 2.0
    assert admission.seconds_for(3) == 6
    assert admission.seconds_for(1000) == 120
    now += 100.0
    assert admission.seconds_for(3) == 5, "ends older than a minute do not count"
