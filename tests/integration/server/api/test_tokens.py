"""llama-server's endpoints for tokens and prompts, over a scripted engine."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    return await aiohttp_client(make_app(tmp_path))


async def _post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    response = await client.post(path, json={"model": "m.gguf"} | body)
    assert response.status == status, await response.text()
    return await response.json()


async def test_a_text_has_tokens_and_pieces_on_request(client: Client) -> None:
    assert await _post(client, "/tokenize", content="one two") == {"tokens": [0, 1]}
    document = await _post(client, "/tokenize", content="one two", with_pieces=True)
    assert document == {"tokens": [{"id": 0, "piece": "one"}, {"id": 1, "piece": "two"}]}


async def test_tokens_have_a_text_and_a_chat_its_prompt(client: Client) -> None:
    assert await _post(client, "/detokenize", tokens=[3, 4]) == {"content": "3 4"}
    document = await _post(client, "/apply-template", **chat_body("hello there"))
    assert document == {"prompt": "<hello there>"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {"content": 5}, "content"),
        ("/tokenize", {"content": ["a", -1]}, "content[1]"),
        ("/tokenize", {}, "content"),
        ("/detokenize", {"tokens": ["a"]}, "tokens[0]"),
        ("/detokenize", {"tokens": [2**31]}, "tokens[0]"),
        ("/apply-template", {"messages": []}, "messages"),
        ("/tokenize", {"content": "a", "model": None}, "model"),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_field(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await _post(client, path, 400, **body)
    assert document["error"]["param"] == param
