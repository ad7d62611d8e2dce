"""A chat of the command over a scripted transport: no server, no terminal."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from server.command.client.errors import RefusedError
from server.command.talk.commands import Chat
from server.command.talk.loop import chat_loop
from server.command.talk.prompt import Prompt

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 5},
}
TIMINGS = {"prompt_per_second": 100.0, "predicted_per_second": 20.0}
CTRL_C, CTRL_D = KeyboardInterrupt, EOFError


class Models:
    def names(self) -> list[str]:
        return ["m.gguf", "other.gguf"]

    def choose(self, name: str) -> str:
        if name not in self.names():
            raise RefusedError(f"model '{name}' does not exist", 404, {})
        return name


class Transport:
    """Answers every request with the next script: texts, or exceptions that it raises."""

    def __init__(self, *scripts: Any) -> None:
        self._scripts = list(scripts)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.n_closed = 0

    def ask(self, model: str) -> Any:
        return lambda request: self._stream(model, request)

    def _stream(self, model: str, request: dict[str, Any]) -> Generator[Any, None, None]:
        self.requests.append((model, json.loads(json.dumps(request))))
        script = self._scripts.pop(0)
        try:
            for part in script if isinstance(script, list) else [script]:
                if isinstance(part, str):
                    yield {"choices": [{"delta": {"content": part}}]}
                elif isinstance(part, dict):
                    yield part
                else:
                    raise part
            end = {"delta": {"content": ""}, "finish_reason": "stop"}
            yield {"choices": [end], "timings": TIMINGS}
            yield {"choices": [], "usage": USAGE}
        finally:
            self.n_closed += 1


def lines(*script: Any):
    """A ReadLine that returns texts and raises exceptions, then the end of the input."""
    left = list(script)

    def read(_: str) -> str:
        one = left.pop(0) if left else CTRL_D
        if isinstance(one, str):
            return one
        raise one

    return read


def talk(transport: Transport, *script: Any, **options: Any) -> tuple[int, Chat]:
    chat = Chat(model="m.gguf", models=Models())
    status = chat_loop(chat, transport.ask, Prompt(lines(*script)), **options)
    return status, chat


def sent(transport: Transport, index: int = -1) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in transport.requests[index][1]["messages"]]
