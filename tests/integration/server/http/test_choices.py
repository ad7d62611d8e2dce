"""A wrong word is answered with the right ones."""

from typing import Any

import pytest

from server.api.schema.chat import ChatFields
from server.http.body.json_body import choices_at, fields_at
from server.protocol.load_settings import LoadSettings
from tests.support.server_app import Client, chat_body


def test_choices_are_found_through_lists_and_unions() -> None:
    roles = choices_at(ChatFields, "messages[...].role")
    assert {"system", "user", "assistant", "tool"} <= set(roles)
    assert choices_at(LoadSettings, "flash_attn") == ("auto", "off", "on")


def test_a_field_of_any_value_lists_no_choices() -> None:
    assert choices_at(LoadSettings, "n_ctx") == ()
    assert choices_at(LoadSettings, "nothing.there[0]") == ()


def test_fields_are_found_through_lists_and_unions() -> None:
    assert fields_at(LoadSettings, "lora[...]") == ("path", "id", "scale")
    assert fields_at(LoadSettings, "n_ctx") == ()


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
    client: Client,
    path: str,
    body: dict[str, Any],
    param: str,
    words: tuple[str, ...],
) -> None:
    response = await client.post(f"/api/v2/{path}", json=body)
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param)
    assert all(word in error["message"] for word in words), error["message"]


@pytest.mark.parametrize("path", ["load", "estimate"])
@pytest.mark.parametrize(
    ("body", "param", "nearest"),
    [
        ({"cache_ram_mib": 0}, "cache_ram_mib", "cache_ram"),
        ({"n_ctx": 64, "gpu_layers": 1}, "gpu_layers", "n_gpu_layers"),
        ({"lora": [{"path": "a.gguf", "scala": 1}]}, "lora[0].scala", "scale"),
        ({"x" * 5000: 1}, "x" * 64, ""),
        ({"": 1}, "", ""),
    ],
)
async def test_a_load_setting_that_is_not_known_names_the_nearest_one(
    client: Client, path: str, body: dict[str, Any], param: str, nearest: str
) -> None:
    response = await client.post(f"/api/v2/models/m.gguf/{path}", json=body)
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param)
    text = f"field '{param}' is not known; the nearest known field is '{nearest}"
    assert text in error["message"]


async def test_a_chat_may_have_fields_that_are_not_known(client: Client) -> None:
    body = chat_body("x", cache_ram_mib=0)
    assert (await client.post("/api/v2/chat/m.gguf", json=body)).status == 200
