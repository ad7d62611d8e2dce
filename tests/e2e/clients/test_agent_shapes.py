"""Requests of coding agents are answered: their shapes, as scripts/clients recorded them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e

_SHAPES = sorted((ROOT / "scripts" / "clients" / "requests").glob("*.json"))
_LIMITS = {"/v1/responses": "max_output_tokens"}
_N_TOKENS = 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("shapes")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 32_768, "n_parallel": 1})
        yield process


def test_there_are_shapes() -> None:
    assert {"claude-code", "codex", "opencode", "qwen-code"} <= {shape.stem for shape in _SHAPES}


@pytest.mark.parametrize("file", _SHAPES, ids=lambda file: file.stem)
def test_an_agents_request_is_answered(server: ServerProcess, file: Path) -> None:
    shape = json.loads(file.read_text())
    path, body = shape["path"], shape["body"]
    limit = _LIMITS.get(path, "max_tokens")
    with server.open(path, body | {"model": TINY, limit: _N_TOKENS}) as response:
        events = all_events(response)
    ends = {event["type"] for event in events if isinstance(event, dict) and "type" in event}
    if path == "/v1/chat/completions":
        assert events[-1] == "[DONE]"
        assert not any("error" in event for event in events[:-1])
    elif path == "/v1/messages":
        assert "message_stop" in ends
        assert "error" not in ends
    else:
        assert ends & {"response.completed", "response.incomplete"}
