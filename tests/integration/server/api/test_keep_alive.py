"""Ollama's keep_alive: how long a model stays after a request."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from llamabind.errors import InvalidParameterError
from server.api.ollama.durations import keep_seconds
from server.http.app_keys import BUS, REGISTRY
from server.models.events import ModelEvent, StateChanged
from server.models.state import ModelState
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app

_SPEECH = chat_body("echo: a", model="m", stream=False)


async def _post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    response = await client.post(f"/api/{path}", json={"model": "m"} | body)
    assert response.status == status, await response.text()
    return await response.read()


async def _entry(client: Client) -> Any:
    return await client.app[REGISTRY].find("m.gguf")


@asynccontextmanager
async def _unloaded_after(client: Client) -> AsyncIterator[None]:
    """Run the body, and wait until the model is unloaded because of it."""
    unloaded = asyncio.Event()

    def listen(event: ModelEvent) -> None:
        if isinstance(event, StateChanged) and event.status == "unloaded":
            assert event.reason == "idle"
            unloaded.set()

    client.app[BUS].listen(listen)
    yield
    async with asyncio.timeout(20):
        await unloaded.wait()


async def _expires_in(client: Client) -> timedelta:
    """As /api/ps says it."""
    [model] = (await (await client.get("/api/ps")).json())["models"]
    left: timedelta = datetime.fromisoformat(model["expires_at"]) - datetime.now(UTC)
    return left


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (300, 300),
        (1.5, 1.5),
        (-1, math.inf),
        ("0", 0),
        ("90", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("-1", math.inf),
        ("-1m", math.inf),
    ],
)
def test_a_duration_is_seconds_or_text(value: float | str, seconds: float) -> None:
    assert keep_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "5 m", "5d", "five", "1h-3m", "5m ", "0x5", "nan"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        keep_seconds(text)


@pytest.mark.parametrize("stream", [False, True])
async def test_with_0_the_model_goes_after_the_answer(client: Client, stream: bool) -> None:
    async with _unloaded_after(client):
        answer = await _post(client, "chat", **_SPEECH | {"keep_alive": 0, "stream": stream})
        assert b'"content":"a"' in answer


async def test_vectors_may_say_it_too(client: Client) -> None:
    async with _unloaded_after(client):
        await _post(client, "embed", input="a", keep_alive="0s")


async def test_keep_alive_holds_until_the_model_is_unloaded(client: Client) -> None:
    async with _unloaded_after(client):
        await _post(client, "generate", prompt="echo: a", keep_alive=0)
    await _post(client, "chat", **_SPEECH)
    assert (await _entry(client)).ttl == math.inf
    assert (await _entry(client)).state is ModelState.LOADED


async def test_the_latest_keep_alive_counts_and_a_request_without_one_changes_nothing(
    client: Client,
) -> None:
    await _post(client, "chat", **_SPEECH | {"keep_alive": "1h"})
    await _post(client, "chat", **_SPEECH)
    assert timedelta(minutes=59) < await _expires_in(client) <= timedelta(hours=1)
    await _post(client, "chat", **_SPEECH | {"keep_alive": -1})
    assert await _expires_in(client) > timedelta(days=10_000)


async def test_a_load_without_a_prompt_applies_keep_alive_too(client: Client) -> None:
    await _post(client, "generate", keep_alive="2m")
    assert (await _entry(client)).ttl == 120


async def test_a_wrong_one_is_an_error_before_anything_is_loaded(client: Client) -> None:
    for path in ("chat", "generate", "embed"):
        answer = await _post(client, path, 400, **_SPEECH | {"input": "a", "keep_alive": "later"})
        assert b'"param":"keep_alive"' in answer
    assert (await _entry(client)).state is ModelState.UNLOADED


async def test_only_an_admins_keep_alive_counts_if_admin_keys_are_set(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, api_keys=("a",), admin_keys=("b",))
    client = await aiohttp_client(app, headers={"Authorization": "Bearer a"})
    await _post(client, "chat", **_SPEECH | {"keep_alive": "1h"})
    assert (await _entry(client)).ttl == math.inf
