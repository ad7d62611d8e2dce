"""300 clients at once, of which 100 disconnect: the others get an answer or a 429."""

import asyncio
import json
import random
from pathlib import Path

import aiohttp
import pytest

from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

_CLIENTS = 300
_LEAVING = 100
_HURRY = 0.5
_URL = f"/api/v2/chat/{TINY}"
_ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What is the capital of Italy?": "The capital of Italy is Rome.",
}


async def _ask(session: aiohttp.ClientSession, question: str, *, streamed: bool) -> str:
    """The answer, or "429" if the queue is full."""
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0}
    path = f"{_URL}/stream" if streamed else _URL
    async with session.post(path, json=body) as response:
        if response.status == 429:
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["queue_length"] > 0
            return "429"
        assert response.status == 200, await response.text()
        if not streamed:
            return str((await response.json())["choices"][0]["message"]["content"])
        events = [line[6:] async for line in response.content if line.startswith(b"data: ")]
    assert events.pop().strip() == b"[DONE]"
    return "".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events)


async def _ask_and_disconnect(
    session: aiohttp.ClientSession, question: str, seconds: float
) -> None:
    """Ask for a long answer; disconnect at its first words, or after `seconds` if that is short."""
    messages = [{"role": "user", "content": question}]
    body = {"messages": messages, "n_predict": 1000, "ignore_eos": True}
    path = _URL if seconds < _HURRY / 2 else f"{_URL}/stream"
    try:
        async with asyncio.timeout(seconds if seconds < _HURRY else None):
            async with session.post(path, json=body) as response:
                await response.content.readany()
    except TimeoutError:
        pass


async def _crowd(port: int) -> list[tuple[str, str]]:
    """(question, answer) of the clients that do not disconnect."""
    chance = random.Random(300)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=100)
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        questions = [chance.choice(list(_ANSWERS)) for _ in range(_CLIENTS)]
        leaving = set(chance.sample(range(_CLIENTS), _LEAVING))
        async with asyncio.TaskGroup() as group:
            staying = []
            for number, question in enumerate(questions):
                if number in leaving:
                    group.create_task(_ask_and_disconnect(session, question, chance.random()))
                else:
                    ask = _ask(session, question, streamed=number % 2 == 0)
                    staying.append((question, group.create_task(ask)))
    return [(question, task.result()) for question, task in staying]


def _is_idle(server: ServerProcess) -> bool:
    engine = server.engine()
    return (engine["running"], engine["waiting"]) == (0, 0)


def test_every_connected_client_is_answered_or_refused_and_the_counts_add_up(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path, "--max-queue", "60") as server:
        server.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        answers = asyncio.run(_crowd(server.port))
        until(lambda: server.metrics().sum("llamabind_requests_in_progress") == 0, "all have ended")
        until(lambda: _is_idle(server), "the engine has left the cancelled ones")
        seen = server.metrics()

    refused = [answer for _, answer in answers if answer == "429"]
    served = [(question, answer) for question, answer in answers if answer != "429"]
    assert len(answers) == _CLIENTS - _LEAVING
    assert len(served) >= 50
    assert refused, "of 300 requests at once, only 60 may wait"
    assert all(answer == _ANSWERS[question] for question, answer in served)

    received = seen.sum("llamabind_requests_received_total")
    outcomes = {
        outcome: seen.sum("llamabind_requests_total", outcome=outcome)
        for outcome in ("stop", "cancelled", "error", "invalid", "length")
    }
    assert len(answers) <= received <= _CLIENTS
    assert received == sum(outcomes.values()) + seen.sum("llamabind_requests_refused_total")
    assert len(served) <= outcomes["stop"] <= len(served) + _LEAVING
    # A client that disconnects within a second was in the queue or was being answered.
    assert 0 < outcomes["cancelled"] <= _LEAVING
    assert outcomes["error"] == outcomes["invalid"] == outcomes["length"] == 0
    assert len(refused) <= seen.sum("llamabind_requests_refused_total") <= len(refused) + _LEAVING
