"""Conversations and templates that the chat tests share."""

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


@cache
def templates() -> dict[str, Path]:
    """Every chat template of the pinned source, by name."""
    folder = llama_cpp_source() / "models" / "templates"
    return {path.stem: path for path in sorted(folder.glob("*.jinja"))}


def template_text(name: str) -> str:
    return templates()[name].read_text(encoding="utf-8")
