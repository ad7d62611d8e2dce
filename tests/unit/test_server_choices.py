"""A wrong word is answered with the right ones."""

from pathlib import Path
from typing import Any

import pytest
from gguf_files import write_gguf
from pytest_aiohttp.plugin import AiohttpClient
from server_app import chat_body, make_app

from server.api.schema_chat import ChatFields
from server.load_settings import LoadSettings
from server.replies import choices_at


def test_choices_are_found_through_lists_and_unions() -> None:
    roles = choices_at(ChatFields, "messages[...].role")
    assert {"system", "user", "assistant", "tool"} <= set(roles)
    assert choices_at(LoadSettings, "flash_attn") == ("auto", "off", "on")


def test_where_anything_goes_there_are_no_choices() -> None:
    assert choices_at(LoadSettings, "n_ctx") == ()
    assert choices_at(LoadSettings, "nothing.there[0]") == ()


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        (
            "chat/m.gguf",
            {"messages": [{"role": "robot", "content": "x"}]},
            "messages[0].role",
            ("'robot'", "'user'", "'assistant'"),
        ),
        ("chat/m.gguf", chat_body("x", tool_choice="maybe"), "tool_choice", ("'required'",)),
        ("models/m.gguf/load", {"flash_attn": "perhaps"}, "flash_attn", ("'auto'", "'on'")),
    ],
)
async def test_a_wrong_word_names_the_right_ones(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    path: str,
    body: dict[str, Any],
    param: str,
    words: tuple[str, ...],
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    response = await client.post(f"/api/v2/{path}", json=body)
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param)
    assert all(word in error["message"] for word in words), error["message"]
