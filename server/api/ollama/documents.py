"""Ollama's answers: whole documents and lines of a stream."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from llamabind.request import Timings
from server.api.shared.answer_documents import called_with, logprobs_document
from server.formats import iso_time, utc_now
from server.protocol.outputs import LogprobEntry, SequenceOutput
from server.streams.answer import NO_TIMINGS, Answer, CalledTool
from server.streams.token_stream import TokenUsage

Called = tuple[CalledTool, dict[str, Any]]
"""A tool call with its parsed arguments."""
Piece = Callable[[str, str, list[Called]], dict[str, Any]]


def chat_piece(text: str, thinking: str, calls: list[Called]) -> dict[str, Any]:
    """The content of an answer of /api/chat: a message."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}
            for index, (call, arguments) in enumerate(calls)
        ]
    return {"message": message}


def generate_piece(text: str, thinking: str, calls: list[Called]) -> dict[str, Any]:  # noqa: ARG001 - no tools here
    """The content of an answer of /api/generate: a text."""
    return {"response": text} | ({"thinking": thinking} if thinking else {})


class OllamaLines:
    """The lines of a stream. Tool calls are sent whole, when the answer has ended."""

    def __init__(self, model: str, piece: Piece) -> None:
        self._model = model
        self._piece = piece
        self._calls: list[CalledTool] = []
        self._last: dict[str, Any] = {}
        self._started = time.monotonic()

    def chunks(self, output: SequenceOutput) -> list[dict[str, Any]]:
        """The lines for one output."""
        lines = []
        for piece in output.tool_calls:
            if piece.index == len(self._calls):
                self._calls.append(CalledTool(piece.id or "", piece.name or ""))
            self._calls[piece.index].arguments += piece.arguments
        if output.text or output.reasoning or output.packed_logprobs:
            line = self._line(output.text, output.reasoning, [])
            lines.append(line | _logprobs(output.logprobs))
        if output.finish_reason is not None:
            if calls := called_with(self._calls, is_cut_off=output.finish_reason == "length"):
                lines.append(self._line("", "", calls))
            usage = TokenUsage.of(output.usage)
            timings = output.timings or NO_TIMINGS
            end = _end(output.finish_reason, usage, timings, time.monotonic() - self._started)
            self._last = self._line("", "", []) | end
        return lines

    def ending(self, usage: TokenUsage) -> list[dict[str, Any]]:  # noqa: ARG002 - in the last line
        """The last line, with finish reason, counts and durations."""
        return [self._last]

    def _line(self, text: str, thinking: str, calls: list[Called]) -> dict[str, Any]:
        return _head(self._model, done=False) | self._piece(text, thinking, calls)


def answer_document(model: str, piece: Piece, answer: Answer, seconds: float) -> dict[str, Any]:
    """A whole answer; `seconds` is the time since the request arrived."""
    choice = answer.choices[0]
    calls = called_with(choice.tool_calls, is_cut_off=choice.finish_reason == "length")
    head = _head(model, done=True) | piece(choice.text, choice.reasoning, calls)
    head |= _logprobs(choice.logprobs)
    return head | _end(choice.finish_reason, answer.usage, answer.timings, seconds)


def idle_document(model: str, piece: Piece, reason: str) -> dict[str, Any]:
    """The answer to a request without a prompt, which only loads or unloads the model."""
    return _head(model, done=True) | piece("", "", []) | {"done_reason": reason}


def _head(model: str, *, done: bool) -> dict[str, Any]:
    return {"model": model, "created_at": iso_time(utc_now()), "done": done}


def _logprobs(entries: Sequence[LogprobEntry]) -> dict[str, Any]:
    """Log-probabilities with OpenAI's keys; empty if none were requested."""
    return {"logprobs": logprobs_document(entries)["content"]} if entries else {}


def _end(finish_reason: str, usage: TokenUsage, timings: Timings, seconds: float) -> dict[str, Any]:
    """Durations in nanoseconds; all time that is not computation counts as `load_duration`."""
    return {
        "done": True,
        "done_reason": "length" if finish_reason == "length" else "stop",
        "total_duration": int(seconds * 1e9),
        "load_duration": max(0, int(seconds * 1e9 - (timings.prompt_ms + timings.decode_ms) * 1e6)),
        "prompt_eval_count": usage.prompt,
        "prompt_eval_duration": int(timings.prompt_ms * 1e6),
        "eval_count": usage.completion,
        "eval_duration": int(timings.decode_ms * 1e6),
    }
