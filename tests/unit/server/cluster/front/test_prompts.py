"""What a router reads of requests of all dialects."""

from typing import Any

import pytest

from server.cluster.front.prompts import BLOCK, routing_prompt, session_of

_SYSTEM = "You are a patient assistant who answers questions about the weather. " * 20


def _shared(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _openai(*texts: str) -> dict[str, Any]:
    roles = ("system", "user", "assistant", "user")
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]}


@pytest.mark.parametrize(
    "bodies",
    [
        (_openai(_SYSTEM, "Hi"), _openai(_SYSTEM, "Hi", "Hello!", "And tomorrow?")),
        (
            {"system": _SYSTEM, "messages": [{"role": "user", "content": "Hi"}]},
            {"system": _SYSTEM, "messages": [{"role": "user", "content": "Bye"}]},
        ),
        (
            {"instructions": _SYSTEM, "input": "Hi"},
            {"instructions": _SYSTEM, "input": "What is new?"},
        ),
        ({"prompt": _SYSTEM + "one"}, {"prompt": _SYSTEM + "two"}),
        ({"input_prefix": _SYSTEM, "input_suffix": "a"}, {"input_prefix": _SYSTEM, "prompt": "b"}),
    ],
    ids=["chat", "anthropic", "responses", "completion", "infill"],
)
def test_prompts_share_as_many_characters_as_blocks(bodies: tuple[Any, Any]) -> None:
    first, second = (routing_prompt(body) for body in bodies)
    assert _shared(first, second) >= len(_SYSTEM) // BLOCK
    assert len(second) <= len(str(bodies[1])) // BLOCK + 2


def test_different_prompts_share_nothing() -> None:
    assert _shared(routing_prompt(_openai("a" * 500)), routing_prompt(_openai("b" * 500))) <= 1


def test_a_prompt_shows_no_words() -> None:
    assert not any(ord(character) < 0x10000 for character in routing_prompt(_openai(_SYSTEM)))


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"messages": []}, {"prompt": ""}])
def test_a_body_without_a_prompt_has_no_routing_prompt(body: dict[str, Any]) -> None:
    assert routing_prompt(body) == ""


def test_a_prompt_that_is_not_text_is_read_too() -> None:
    assert routing_prompt({"prompt": [1, 2, 3]})
    assert routing_prompt({"messages": "\ud800"})


def test_a_huge_prompt_is_cut() -> None:
    assert len(routing_prompt({"prompt": "x" * (3 << 20)})) == (1 << 20) // BLOCK


@pytest.mark.parametrize(
    ("headers", "body", "session"),
    [
        ({"x-session-id": "s1"}, {"user": "u"}, "s1"),
        ({}, {"user": "u", "prompt_cache_key": "k"}, "k"),
        ({}, {"metadata": {"user_id": "a"}}, "a"),
        ({}, {"user": 5, "metadata": "x"}, ""),
    ],
)
def test_the_session_of_a_request(
    headers: dict[str, str], body: dict[str, Any], session: str
) -> None:
    assert session_of(headers, body) == session
