"""A conversation with very many messages is refused before it is converted."""

from typing import Any

import msgspec
import pytest

from server.errors import InvalidRequestError
from server.http.body.message_limit import MAX_ITEMS, check_items, check_raw


class Chat(msgspec.Struct):
    messages: list[dict[str, Any]]


class Embedding(msgspec.Struct):
    input: Any


HELLO = {"role": "user", "content": "hello"}


def test_a_body_with_too_many_messages_is_not_even_decoded() -> None:
    raw = msgspec.json.encode({"messages": [HELLO] * (MAX_ITEMS + 1)})
    with pytest.raises(InvalidRequestError, match=f"{MAX_ITEMS + 1} messages") as refused:
        check_raw(raw, Chat)
    assert refused.value.param == "messages"
    check_raw(raw, Embedding | None)  # not a struct


def test_json_inside_a_text_is_not_counted() -> None:
    talk = msgspec.json.encode([HELLO] * (MAX_ITEMS + 1)).decode()
    body = {"messages": [{"role": "user", "content": talk}]}
    check_raw(msgspec.json.encode(body), Chat)
    check_items(Chat(**body))


@pytest.mark.parametrize("name", ["content", "tool_calls"])
def test_parts_and_calls_count_as_messages(name: str) -> None:
    check_items(Chat([{"role": "user", name: [{}] * (MAX_ITEMS - 1)}]))
    with pytest.raises(InvalidRequestError, match="tool calls"):
        check_items(Chat([{"role": "user", name: [{}] * MAX_ITEMS}]))


def test_inputs_to_embed_are_no_messages() -> None:
    for one in ("text", 7, [1, 2]):
        check_items(Embedding([one] * (MAX_ITEMS + 1)))
    check_items(Embedding("text"))
