"""Conversations and templates that the chat tests share."""

import json
from functools import cache
from pathlib import Path

from llama_source import llama_cpp_source

USER = {"role": "user", "content": "What is the weather in Paris?"}
CONVERSATION = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Good morning!"},
    {"role": "assistant", "content": "Good morning to you."},
    {"role": "user", "content": "What is the capital of France?"},
]
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "abc123456",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
        }
    ],
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
# A second tool with arguments of every kind; its call has all that JSON, XML or Python must escape.
ORDER_TOOL = {
    "type": "function",
    "function": {
        "name": "place_order",
        "description": "Orders things.",
        "parameters": {
            "type": "object",
            "properties": {
                "count": {"type": "integer"},
                "note": {"type": "string"},
                "address": {
                    "type": "object",
                    "properties": {
                        "lines": {"type": "array", "items": {"type": "string"}},
                        "is_home": {"type": "boolean"},
                    },
                    "required": ["lines", "is_home"],
                },
            },
            "required": ["count", "note", "address"],
        },
    },
}
ORDER = {
    "count": 12,
    "note": 'say "hi" to\nAnn & Bob \\ café',
    "address": {"lines": ["1, Main St", "x"], "is_home": True},
}


def calls(*named: tuple[str, dict[str, object]]) -> dict[str, object]:
    """An assistant's message that calls these functions."""
    made = [
        {
            "id": f"abc12345{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(named)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


@cache
def templates() -> dict[str, Path]:
    """Every chat template of the pinned source, by name."""
    folder = llama_cpp_source() / "models" / "templates"
    found = {path.stem: path for path in sorted(folder.glob("*.jinja"))}
    assert found, f"{folder} has no templates: tests of every template would test nothing"
    return found


def template_text(name: str) -> str:
    return templates()[name].read_text(encoding="utf-8")
