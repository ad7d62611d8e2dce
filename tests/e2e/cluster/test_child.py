"""ChildServer: the server of one replica. Needs no Ray."""

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.cluster.call import Call, Head, ServerLostError, StartError
from server.cluster.child import ChildServer
from server.cluster.config import ClusterModel
from tests.support.client_server import BUNDLED
from tests.support.server_app import pause
from tests.support.server_process import TINY, is_gone, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _model(path: Path) -> ClusterModel:
    return ClusterModel(name="chat", model=str(path), cpus=1, n_parallel=1, n_ctx=32_768)


def _chat(**more: Any) -> Call:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]} | more
    headers = (("Content-Type", "application/json"), ("Authorization", "Bearer of-a-user"))
    return Call("POST", "/v1/chat/completions", headers, json.dumps(body).encode(), "ingress")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ChildServer]:
    shutil.copy(BUNDLED / TINY, tmp_path)
    child = ChildServer(_model(tmp_path / TINY), "chat-1")
    try:
        await child.start()
        yield child
    finally:
        await child.stop()


async def _running(server: ChildServer) -> int:
    name = 'llamabind_requests_in_progress{model="tiny-chat.gguf"} '
    [line] = [one for one in (await server.metrics()).splitlines() if one.startswith(name)]
    return int(float(line.removeprefix(name)))


async def _read(items: AsyncIterator[Head | bytes]) -> None:
    async for _ in items:
        pass


async def test_a_child_answers_cancels_and_reports_its_end(server: ChildServer) -> None:
    await server.check()

    # The head comes first, without headers of the connection.
    async with aclosing(server.relay(_chat(max_tokens=3))) as items:
        head, *parts = [item async for item in items]
    assert isinstance(head, Head)
    assert (head.status, head.replica) == (200, "chat-1")
    assert not {"transfer-encoding", "connection"} & {name.lower() for name, _ in head.headers}
    document = json.loads(b"".join(part for part in parts if isinstance(part, bytes)))
    assert document["model"] == "chat"

    # Closing the iterator cancels the request.
    endless = _chat(max_tokens=30_000, ignore_eos=True, stream=True)
    async with aclosing(server.relay(endless)) as items:
        assert isinstance(await anext(items), Head)
        assert await anext(items)
        assert await _running(server) == 1
    async with asyncio.timeout(60):
        while await _running(server):
            await pause()

    # A server that is killed ends its streams with an error.
    async with aclosing(server.relay(endless)) as items:
        await anext(items)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ServerLostError, match="chat-1"):
            await _read(items)
    assert await server.wait() == -signal.SIGKILL
    with pytest.raises(RuntimeError, match="ended with status -9"):
        await server.check()


async def test_a_child_ends_when_it_is_stopped(server: ChildServer) -> None:
    pid = server.pid
    await server.stop()
    until(lambda: is_gone(pid), "the server has ended")


async def test_a_model_that_cannot_be_loaded_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and nothing else")
    child = ChildServer(_model(tmp_path / "bad.gguf"), "chat-1")
    try:
        with pytest.raises(StartError, match="model 'chat' cannot be loaded: "):
            await child.start()
    finally:
        await child.stop()


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    shutil.copy(BUNDLED / TINY, tmp_path)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    model = msgspec.structs.replace(_model(tmp_path / TINY), rpc=(address,))
    child = ChildServer(model, "chat-1")
    try:
        with pytest.raises(StartError, match=f"status 1: .*the RPC server at {address} does not"):
            await child.start()
    finally:
        await child.stop()
