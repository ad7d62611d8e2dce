"""llama-server's endpoints for tokens and prompts, over a scripted engine."""

from typing import Any

import pytest

from tests.support.server_app import Client, chat_body, post


async def test_a_text_has_tokens_and_pieces_on_request(client: Client) -> None:
    assert await post(client, "/tokenize", content="one two") == {"tokens": [0, 1]}
    document = await post(client, "/tokenize", content="one two", with_pieces=True)
    assert document == {"tokens": [{"id": 0, "piece": "one"}, {"id": 1, "piece": "two"}]}


async def test_tokens_have_a_text_and_a_chat_its_prompt(client: Client) -> None:
    assert await post(client, "/detokenize", tokens=[3, 4]) == {"content": "3 4"}
    document = await post(client, "/apply-template", **chat_body("hello there"))
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
    document = await post(client, path, 400, **body)
    assert document["error"]["param"] == param
