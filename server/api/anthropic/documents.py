"""Anthropic's answers: whole documents and stream events."""

import uuid
from typing import Any

from server.api.shared.answer_documents import called_with
from server.protocol.outputs import SequenceOutput
from server.streams.answer import Answer
from server.streams.token_stream import TokenUsage

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def message_document(model: str, answer: Answer) -> dict[str, Any]:
    """A whole answer in Anthropic's form."""
    choice = answer.choices[0]
    content: list[dict[str, Any]] = []
    if choice.reasoning:
        content.append({"type": "thinking", "thinking": choice.reasoning, "signature": ""})
    if choice.text:
        content.append({"type": "text", "text": choice.text})
    is_cut_off = choice.finish_reason == "length"
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
        for call, arguments in called_with(choice.tool_calls, is_cut_off=is_cut_off)
    ]
    document = _message(model, content, answer.usage)
    return document | _end(choice.finish_reason, choice.stop_string)


class AnthropicEvents:
    """The events of an output stream: content blocks that start, grow and stop, one at a time."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._has_begun = False
        # The open block: its kind, or the number of its tool call; None if no block is open.
        self._open: str | int | None = None
        self._n_blocks = 0
        self._end: dict[str, Any] = {}

    def chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The events for one output."""
        events: list[dict[str, Any]] = []
        usage = TokenUsage.of(output.usage)
        if not self._has_begun:
            self._has_begun = True
            start = _message(self._model, [], usage) | _NO_END
            events.append({"type": "message_start", "message": start})
        if output.reasoning:
            start = {"type": "thinking", "thinking": "", "signature": ""}
            delta = {"type": "thinking_delta", "thinking": output.reasoning}
            events += self._grow("thinking", start, delta)
        if output.text:
            delta = {"type": "text_delta", "text": output.text}
            events += self._grow("text", {"type": "text", "text": ""}, delta)
        for piece in output.tool_calls:
            start = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": piece.arguments}
            events += self._grow(piece.index, start, delta)
        if output.finish_reason is not None:
            self._end = _end(output.finish_reason, output.stop_string)
        return events

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:
        """The events that end the open block and the message, with the token counts."""
        delta = {"type": "message_delta", "delta": self._end, "usage": _usage(usage)}
        return [*self._close(), delta, {"type": "message_stop"}]

    def _grow(
        self, kind: str | int, start: dict[str, Any], delta: dict[str, Any]
    ) -> list[dict[str, Any]]:
        events = []
        if self._open != kind:
            events += self._close()
            self._open = kind
            index = self._n_blocks
            events.append({"type": "content_block_start", "index": index, "content_block": start})
        return [*events, {"type": "content_block_delta", "index": self._n_blocks, "delta": delta}]

    def _close(self) -> list[dict[str, Any]]:
        if self._open is None:
            return []
        self._open = None
        self._n_blocks += 1
        return [{"type": "content_block_stop", "index": self._n_blocks - 1}]


_NO_END = {"stop_reason": None, "stop_sequence": None}


def _message(model: str, content: list[dict[str, Any]], usage: TokenUsage) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "usage": _usage(usage),
    }


def _usage(usage: TokenUsage) -> dict[str, int]:
    """Anthropic's token counts; `input_tokens` excludes cached ones."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.completion,
    }


def _end(finish_reason: str, stop_string: str | None) -> dict[str, Any]:
    # Tool calls take precedence over a stop string: the client must act on them.
    if stop_string is not None and finish_reason != "tool_calls":
        return {"stop_reason": "stop_sequence", "stop_sequence": stop_string}
    return {"stop_reason": _STOP_REASONS[finish_reason], "stop_sequence": None}
