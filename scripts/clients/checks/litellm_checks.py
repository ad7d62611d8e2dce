"""litellm with its providers for OpenAI-compatible servers, Anthropic and Ollama."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it fetches a file at its start

import litellm

from clients.checks.harness import BASE, EMBEDDING_MODEL, KEY, MODEL, expect, run_checks
from clients.checks.questions import (
    ANSWER,
    COLOUR_QUESTION,
    COLOURS,
    FUNCTION,
    QUESTION,
    SUNNY,
    WEATHER,
    Colour,
)

_PREFIX, _URL = {
    "openai": ("openai", f"{BASE}/v1"),
    "hosted_vllm": ("hosted_vllm", f"{BASE}/v1"),
    "anthropic": ("anthropic", BASE),
    "ollama_chat": ("ollama_chat", BASE),
}[sys.argv[1]]
_CALL: dict[str, Any] = {"api_base": _URL, "api_key": KEY, "temperature": 0, "num_retries": 0}


def _ask(text: str | list[Any], **options: Any) -> Any:
    messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
    return litellm.completion(f"{_PREFIX}/{MODEL}", messages, **_CALL, **options)


def chat() -> None:
    answer = _ask(QUESTION)
    expect(answer.choices[0].message.content == ANSWER, answer)


def stream() -> None:
    parts = list(_ask(QUESTION, stream=True))
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    expect(text == ANSWER, text)


def tools() -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    first = _ask(WEATHER, tools=tools).choices[0].message
    expect(first.tool_calls, first)
    call = first.tool_calls[0]
    expect(json.loads(call.function.arguments) == {"city": "Paris"}, call)
    messages = [
        {"role": "user", "content": WEATHER},
        first.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": SUNNY},
    ]
    second = _ask(messages, tools=tools)
    expect("sunny" in (second.choices[0].message.content or ""), second)


def schema() -> None:
    answer = _ask(COLOUR_QUESTION, response_format=Colour)
    text = answer.choices[0].message.content
    expect(Colour.model_validate_json(text).colour in COLOURS, answer)


def embeddings() -> None:
    prefix = "ollama" if _PREFIX == "ollama_chat" else _PREFIX
    answer = litellm.embedding(
        f"{prefix}/{EMBEDDING_MODEL}", ["one", "two"], api_base=_URL, api_key=KEY
    )
    expect(len(answer.data) == 2 and any(answer.data[1]["embedding"]), answer)


if __name__ == "__main__":
    more = [] if _PREFIX == "anthropic" else [embeddings]
    run_checks(chat, stream, tools, schema, *more)
