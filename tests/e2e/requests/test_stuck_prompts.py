"""A prompt inside a native call that never returns: its model is replaced when requests wait."""

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import TINY_MODEL
from tests.support.server_process import TINY, ServerProcess, is_gone, until

pytestmark = pytest.mark.e2e

OTHER = "other.gguf"
TRAP = "trap"
# Looks for 4 MB of "a" and a "b" in 8 MB of "a": each of four million places compares 4 MB.
TEMPLATE = (
    f"{{% if messages[-1].content == '{TRAP}' %}}{{% set ns = namespace(text='{'a' * 4096}') %}}"
    "{% for i in range(10) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}"
    "{{ (ns.text ~ 'b') in (ns.text ~ ns.text) }}{% endif %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>{% endfor %}"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    shutil.copy(TINY_MODEL, tmp_path / OTHER)
    # Longer than a prompt's deadline, so that stuck prompts are answered before the replacement.
    with ServerProcess(tmp_path, "--stall-seconds", "15") as process:
        settings = {"n_ctx": 512, "threads": 1}
        process.post(f"/api/v2/models/{OTHER}/load", settings)
        process.post(f"/api/v2/models/{TINY}/load", settings | {"chat_template": TEMPLATE})
        yield process


def start(server: ServerProcess, text: str, key: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    body = {"model": TINY, "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return connection


def ask(server: ServerProcess, model: str) -> int:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    return server.request("POST", f"/api/v2/chat/{model}", body)[0]


def health(server: ServerProcess, model: str = TINY) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/health")["models"].get(model, {})
    return found


def stalled_seconds(server: ServerProcess, model: str) -> float:
    return server.metrics().sum("llamabind_engine_stalled_seconds", model=model)


def test_a_stuck_prompt_is_answered_and_its_worker_ends_once_it_is_idle(
    server: ServerProcess,
) -> None:
    worker = server.engine()["pid"]
    with closing(start(server, TRAP, "hostile")) as hostile:
        until(lambda: health(server)["waiting"] == 1, "the stuck prompt is counted as waiting")
        assert ask(server, TINY) == 200, "other prompts of the model pass"
        assert ask(server, OTHER) == 200
        response = hostile.getresponse()
        error = json.loads(response.read())["error"]
    assert (response.status, error["param"]) == (400, "messages")
    assert "took longer than 10 s" in error["message"]
    until(lambda: is_gone(worker), "the worker with a lost thread has ended")
    assert ask(server, TINY) == 200
    assert server.engine()["pid"] != worker


def test_a_model_whose_intake_is_stuck_is_replaced_when_a_request_waits(
    server: ServerProcess,
) -> None:
    worker = server.engine()["pid"]
    with ExitStack() as stack:
        # As many as there are threads, each of another client.
        traps = [
            stack.enter_context(closing(start(server, TRAP, f"hostile{number}")))
            for number in range(4)
        ]
        until(lambda: health(server)["waiting"] == len(traps), "all of them are stuck")
        with closing(start(server, "hello", "honest")) as honest:
            until(lambda: stalled_seconds(server, TINY) > 5, "the figure rises")
            until(lambda: health(server)["waiting"] == len(traps) + 1, "the honest one waits")
            assert ask(server, OTHER) == 200, "other models answer"
            assert stalled_seconds(server, TINY) > 5 > stalled_seconds(server, OTHER)
            assert honest.getresponse().status == 200, "the new worker answers"
        assert [trap.getresponse().status for trap in traps] == [400] * len(traps)
    assert is_gone(worker)
    assert not health(server)["stalled"]
    assert server.engine()["pid"] != worker
    assert "prepared no request for 15 s" in server.log.read_text()
