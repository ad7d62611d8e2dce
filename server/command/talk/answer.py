"""read_answer: one answer as it arrives, printed for people or collected for programs."""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TextIO

from server.command.client.errors import DisconnectedError
from server.command.terminal.formats import duration
from server.command.terminal.progress import ProgressBar
from server.command.terminal.screen import has_colours, is_terminal, safe, say, styled

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
# Most prompts take less time than this, and a bar would only flicker.
_BAR_DELAY: Final = 0.5
# Sends a request; the documents of its output stream.
Ask = Callable[[dict[str, Any]], Generator[Any, None, None]]


@dataclass(slots=True)
class Answer:
    """What arrived of an answer. `was_stopped`: by Ctrl-C."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    was_stopped: bool = False

    def add(self, document: dict[str, Any]) -> tuple[str, str]:
        """Add a chunk; returns its reasoning and its content."""
        self.usage = document.get("usage") or self.usage
        self.timings = document.get("timings") or self.timings
        if not document.get("choices"):
            return "", ""
        choice = document["choices"][0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta") or {}
        reasoning, content = delta.get("reasoning_content") or "", delta.get("content") or ""
        self.reasoning += reasoning
        self.content += content
        return reasoning, content

    def document(self) -> dict[str, Any]:
        """The answer for --json."""
        return {
            "role": "assistant",
            "content": self.content,
            "reasoning_content": self.reasoning or None,
            "finish_reason": "stopped" if self.was_stopped else self.finish_reason,
            "usage": self.usage,
            "timings": self.timings,
        }


class Printer:
    """Prints an answer: the content always, the reasoning only in a terminal, dimmed."""

    def __init__(self, out: TextIO | None = None, *, shows_reasoning: bool = True) -> None:
        self._out = out or sys.stdout
        self._is_terminal = is_terminal(self._out)
        self._has_colours = has_colours(self._out)
        self._shows_reasoning = shows_reasoning and self._is_terminal
        self._is_dim = False
        self._last = "\n"

    def reasoning(self, text: str) -> None:
        """Print reasoning."""
        if not (text and self._shows_reasoning):
            return
        if not self._is_dim:
            self._is_dim = True
            self._write(f"{_DIM if self._has_colours else ''}[reasoning] ")
        self._write(safe(text))

    def content(self, text: str) -> None:
        """Print text of the answer, after an empty line if reasoning was printed before it."""
        if text and self._is_dim:
            self.end_line()
            self._write("\n")
            text = text.lstrip("\n")
        self._write(safe(text) if self._is_terminal else text)

    def end_line(self) -> None:
        """End the line and the colours, also of an answer that was stopped."""
        if self._is_dim and self._has_colours:
            self._out.write(_RESET)
        self._is_dim = False
        if self._last != "\n":
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._last = text[-1]


def read_answer(ask: Ask, request: dict[str, Any], printer: Printer | None) -> Answer:
    """Send the request and read its answer; Ctrl-C closes the connection, which stops the engine.

    While a long prompt is computed, a bar shows how far. Raises CommandError; what was printed
    until then ends with its line.
    """
    answer = Answer()
    shows_progress = printer is not None and is_terminal(sys.stderr)
    events = ask(request | ({"return_progress": True} if shows_progress else {}))
    try:
        _read_prompt(events, answer)
        if printer is not None:
            printer.reasoning(answer.reasoning)
            printer.content(answer.content)
        for document in events:
            reasoning, content = answer.add(document)
            if printer is not None:
                printer.reasoning(reasoning)
                printer.content(content)
        if answer.finish_reason is None:
            raise DisconnectedError
    except KeyboardInterrupt:
        answer.was_stopped = True
    finally:
        events.close()
        if printer is not None:
            printer.end_line()
    return answer


def _read_prompt(events: Generator[Any, None, None], answer: Answer) -> None:
    """Read up to the first text of the answer, with a bar for the prompt."""
    with ProgressBar("reading the prompt", _BAR_DELAY) as bar:
        for document in events:
            for warning in document.get("warnings", ()):
                say(f"warning: {warning}")
            if progress := document.get("prompt_progress"):
                bar.show(progress["processed"] / max(1, progress["total"]))
            if any(answer.add(document)):
                return


def ending_note(answer: Answer) -> str:
    """Why an answer is not complete; "" for one that is."""
    if answer.was_stopped:
        return "(stopped)"
    if answer.finish_reason == "length":
        return "(cut off: the limit of tokens is reached, or the context is full)"
    return ""


def speed_note(answer: Answer, seconds: float) -> str:
    """Tokens and speed of an answer that took `seconds`."""
    parts = []
    usage, timings = answer.usage or {}, answer.timings or {}
    if usage:
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        parts.append(f"prompt {usage['prompt_tokens']} tokens ({cached} cached)")
        parts.append(f"answer {usage['completion_tokens']} tokens")
    if timings:
        parts.append(f"prompt at {timings['prompt_per_second']:.1f} tokens/s")
        parts.append(f"answer at {timings['predicted_per_second']:.1f} tokens/s")
    return ", ".join([*parts, duration(seconds)])


def dim_remark(text: str) -> None:
    """Print a remark to stderr, dimmed."""
    if text:
        print(styled(text, "dim", sys.stderr), file=sys.stderr, flush=True)
