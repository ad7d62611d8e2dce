"""Calls and results of tools, with ids or without, in every order, in every dialect of chats."""

from typing import Any

import pytest

from tests.support.server_app import Client

_USER = {"role": "user", "content": "echo: a"}


def _calls(*ids: str | None) -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "f"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _result(call_id: str | None) -> dict[str, Any]:
    return {"role": "tool", "content": "42"} | ({"tool_call_id": call_id} if call_id else {})


def _uses(*ids: str) -> dict[str, Any]:
    blocks = [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ids]
    return {"role": "assistant", "content": blocks}


def _results(*ids: str) -> dict[str, Any]:
    blocks = [{"type": "tool_result", "tool_use_id": one, "content": "42"} for one in ids]
    return {"role": "user", "content": blocks}


async def _warnings(client: Client, path: str, messages: list[dict[str, Any]]) -> str | None:
    body = {"model": "m.gguf", "max_tokens": 9, "messages": messages}
    response = await client.post(path, json=body)
    assert response.status == 200, await response.text()
    return response.headers.get("X-Llamabind-Warnings")


def _is_named(warnings: str | None, path: str | None) -> bool:
    return warnings is None if path is None else (warnings or "").startswith(f"{path}: a tool's")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v2/chat/m.gguf"])
@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([_USER, _result("zzz")], "messages[1]"),
        ([_USER, _calls("a"), _result("zzz")], "messages[2]"),
        ([_result("a"), _USER], "messages[0]"),
        ([_USER, _result("a"), _calls("a")], "messages[1]"),
        ([_USER, _calls("a", "a"), _result("a")], None),
        ([_calls("a", "b"), _result("b"), _result("a"), _USER], None),
        ([_calls("a"), _result("a"), _calls("a"), _result("a"), _USER], None),
        ([_calls("a", "b"), _result("b"), _USER], None),
        ([_calls(None, None), _result(None), _USER], None),
    ],
)
async def test_of_openais_messages(
    client: Client, path: str, messages: list[dict[str, Any]], param: str | None
) -> None:
    assert _is_named(await _warnings(client, path, messages), param)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([_USER, _results("zzz")], "messages[1].content[0]"),
        ([_USER, _uses("a"), _results("a", "zzz")], "messages[2].content[1]"),
        ([_results("a"), _USER], "messages[0].content[0]"),
        ([_USER, _uses("a", "a"), _results("a")], None),
        ([_uses("a", "b"), _results("b", "a"), _USER], None),
        ([_uses("a", "b"), _results("b"), _USER], None),
    ],
)
async def test_of_anthropics_blocks(
    client: Client, messages: list[dict[str, Any]], param: str | None
) -> None:
    assert _is_named(await _warnings(client, "/v1/messages", messages), param)
