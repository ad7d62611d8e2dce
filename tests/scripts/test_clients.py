"""scripts/clients without clients: the script of a model, the log, the shapes, the lists."""

from pathlib import Path
from typing import Any

import pytest
from clients import cache
from clients.agents import AGENTS, MARKER, NOTE, TASKS
from clients.libraries import LIBRARIES
from clients.scripted.script import GREETING, Script
from clients.server import Server
from clients.shapes import shape

from server.protocol.job import ChatPrompt
from tests.support.paths import ROOT

_CLIENTS = ROOT / "scripts" / "clients"
_SCRIPT = Script({"Read it": [("read", {"path": "a"}), ("open", {"file": "a"})]})
_ASKED = {"role": "user", "content": [{"type": "text", "text": "Read it, please"}]}
_CALLED: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}


def _answer(*messages: dict[str, Any], tools: tuple[str, ...] = ("open",)) -> str | None:
    functions = [{"type": "function", "function": {"name": name}} for name in tools]
    return _SCRIPT.answer(ChatPrompt(messages=list(messages), tools=functions))


def test_the_first_tool_that_is_offered_is_called() -> None:
    call = '<tool_call>\n{"name": "open", "arguments": {"file": "a"}}\n</tool_call>'
    assert _answer(_ASKED) == call
    assert _answer(_ASKED, tools=("other",)) == GREETING
    assert _answer({"role": "user", "content": "A title?"}) == GREETING


def test_a_tools_result_is_answered_with_the_marker_in_it() -> None:
    found = {"role": "tool", "content": f"1\t{NOTE}"}
    image = {"role": "tool", "content": [{"type": "media", "data": b"\x00"}]}
    assert _answer(_ASKED, _CALLED, found) == f"The tool says {MARKER}."
    assert _answer(_ASKED, _CALLED, image) == "The tool has answered."
    # The next task of the same conversation begins with a call again.
    assert "<tool_call>" in (_answer(_ASKED, _CALLED, found, _CALLED, _ASKED) or "")


def test_an_answer_with_a_schema_is_left_to_the_model() -> None:
    assert _SCRIPT.answer(ChatPrompt(messages=[_ASKED], json_schema={})) is None


def test_statuses_of_400_and_more_are_found_in_the_access_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"x INFO server.http.access: GET /a {status} ms=1.0" for status in (200, 404, 500)]
    log.write_text("\n".join([*lines, "x INFO server.worker: GET /a 404 ms=1.0"]))
    server = Server("http://127.0.0.1:1", log, tmp_path)
    assert server.refused() == lines[1:]
    assert server.paths() == {"GET /a": 3}


def test_a_shape_keeps_keys_types_and_ids_and_no_text() -> None:
    secret = "the user's own words, which nobody else may read " * 3
    body = {
        "model": "m",
        "metadata": {"user_id": secret},
        "messages": [{"role": "user", "content": [{"type": "text", "text": secret}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "required": ["a"]}}],
        "calls": [{"call_id": "c1", "arguments": f'{{"path": "{secret}", "n": 3}}'}],
    }
    shaped = shape(body)
    assert "words" not in str(shaped)
    assert len(shaped["messages"][0]["content"][0]["text"]) == 80
    assert shaped["tools"] == body["tools"]
    assert shaped["calls"][0]["call_id"] == "c1"
    assert '"n": 3' in shaped["calls"][0]["arguments"]


@pytest.mark.parametrize("client", [*AGENTS, *LIBRARIES], ids=lambda client: client.name)
def test_every_client_has_versions_and_a_script(client: Any) -> None:
    versions = _CLIENTS / "versions"
    pinned = (
        versions / client.environment / "package.json"
        if client.is_node
        else versions / f"{client.environment}.txt"
    )
    text = pinned.read_text()
    if client in AGENTS:
        assert client.package in text
        assert client.calls.keys() <= {task.check for task in TASKS}
        return
    assert all(package in text.replace("[", "=") for package in client.packages)
    folder, suffix = ("node", "") if client.is_node else ("checks", ".py")
    assert (_CLIENTS / folder / f"{client.script}{suffix}").exists()


def test_clients_are_installed_into_a_chosen_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENTS_CACHE", "/somewhere/else")
    assert cache.cache_folder() == Path("/somewhere/else")
    monkeypatch.delenv("CLIENTS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache.cache_folder() == Path("/cache/llamabind-clients")
