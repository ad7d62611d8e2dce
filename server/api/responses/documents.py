"""ResponseEvents: builds the document of a response, and the events that stream it."""

import time
import uuid
from typing import Any

from msgspec.structs import replace

from server.api.responses.items import (
    CallItem,
    CustomCallItem,
    Event,
    MessageItem,
    OutputItem,
    ReasoningItem,
)
from server.api.responses.schema import ChosenResponseTools, ResponsesBody, ToolChoice
from server.api.responses.tools import echoed_tools
from server.api.shared.answer_documents import (
    logprobs_document,
    progress_document,
    timings_document,
)
from server.errors import ApiError, ContextOverflowError
from server.protocol.job import Job, ToolForm
from server.protocol.outputs import SequenceOutput, ToolCallPiece
from server.streams.token_stream import TokenUsage


class ResponseEvents:
    """Turns the outputs of one request into the events of its response.

    `response` is the document. Every output adds to it; after `ending` it is complete. As in
    llama-server the last event has `timings`, and so has the last event of each output on request;
    the prompt's progress is in events of type "response.in_progress".
    """

    def __init__(self, model: str, body: ResponsesBody, job: Job) -> None:
        self.response: dict[str, Any] = _echo(body, job) | {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        self._forms = job.tool_forms
        self._times_each = job.timings_per_token
        self._timings: dict[str, Any] | None = None
        self._n_events = 0
        self._n_items = 0
        self._open: OutputItem | None = None
        # Index of the open tool call among the calls of the answer.
        self._call = -1
        self._is_cut_off = False

    def chunks(self, output: SequenceOutput) -> list[Event]:
        """The events for one output."""
        events = self._beginning()
        if output.reasoning:
            events += self._add_reasoning(output.reasoning)
        if output.text:
            # The document has no field for the log-probabilities of reasoning and tool calls.
            entries = [entry for entry in output.logprobs if entry.is_content]
            events += self._add_text(output.text, logprobs_document(entries)["content"])
        for piece in output.tool_calls:
            events += self._add_call(piece)
        self._is_cut_off = output.finish_reason == "length"
        if output.progress is not None:
            events = events or [self._state("in_progress")]
            events[-1]["prompt_progress"] = progress_document(output.progress)
        self._add_timings(output, events)
        return self._numbered(events)

    def _add_timings(self, output: SequenceOutput, events: list[Event]) -> None:
        if output.timings is None:
            return
        usage = TokenUsage.of(output.usage)
        self._timings = timings_document(usage, output.timings, output.progress)
        if events and (self._times_each or output.progress is not None):
            events[-1]["timings"] = self._timings

    def ending(self, usage: TokenUsage) -> list[Event]:
        """The events that end the open item and the response."""
        status = "incomplete" if self._is_cut_off else "completed"
        events = self._close(status)
        self.response |= {"status": status, "usage": _usage(usage)}
        if self._is_cut_off:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self.response["completed_at"] = int(time.time())
        last = self._state(status)
        if self._timings is not None:
            last["timings"] = self._timings
        return self._numbered([*events, last])

    def failure(self, error: ApiError) -> list[Event]:
        """The events that end the response with an error."""
        events = self._beginning()
        self._close("incomplete")
        message = error.message
        if isinstance(error, ContextOverflowError):
            message = error.openai_message("input")
        detail = {"code": error.code or error.type, "message": message}
        self.response |= {"status": "failed", "error": detail}
        return self._numbered([*events, self._state("failed")])

    def _beginning(self) -> list[Event]:
        return [] if self._n_events else [self._state("created"), self._state("in_progress")]

    def _state(self, name: str) -> Event:
        return {"type": f"response.{name}", "response": self.response | {}}

    def _add_reasoning(self, text: str) -> list[Event]:
        item, events = self._open, []
        if not isinstance(item, ReasoningItem):
            item = ReasoningItem(self._n_items)
            events = self._begin(item)
        return [*events, item.grow(text)]

    def _add_text(self, text: str, logprobs: list[Any]) -> list[Event]:
        item, events = self._open, []
        if not isinstance(item, MessageItem):
            item = MessageItem(self._n_items)
            events = self._begin(item)
        return [*events, item.grow(text, logprobs)]

    def _add_call(self, piece: ToolCallPiece) -> list[Event]:
        item, events = self._open, []
        if not isinstance(item, CallItem) or piece.index != self._call:
            item = self._new_call(piece)
            events = self._begin(item)
            self._call = piece.index
        return events + item.grow(piece.arguments)

    def _new_call(self, piece: ToolCallPiece) -> CallItem:
        name = piece.name or ""
        form = self._forms.get(name) or ToolForm(kind="function", name=name)
        kind = CustomCallItem if form.kind == "custom" else CallItem
        return kind(self._n_items, piece.id or "", form.name, form.namespace)

    def _begin(self, item: OutputItem) -> list[Event]:
        events = self._close("completed")
        self._open = item
        self._n_items += 1
        return [*events, *item.begin()]

    def _close(self, status: str) -> list[Event]:
        item, self._open = self._open, None
        if item is None:
            return []
        events = item.end(status)
        # A new list: events that were already made refer to the old one.
        self.response["output"] = [*self.response["output"], item.document(status)]
        return events

    def _numbered(self, events: list[Event]) -> list[Event]:
        for event in events:
            event["sequence_number"] = self._n_events
            self._n_events += 1
        return events


def _echo(body: ResponsesBody, job: Job) -> dict[str, Any]:
    """The request's settings, which OpenAI's response documents repeat."""
    form = body.text.format if body.text else None
    effort = body.reasoning.effort if body.reasoning else None
    return {
        "background": False,
        "instructions": body.instructions,
        "max_output_tokens": job.max_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": effort, "summary": None},
        "store": False,
        "temperature": job.sampling.temperature,
        "text": {"format": form or {"type": "text"}},
        "tool_choice": _typed_choice(body.tool_choice),
        "tools": echoed_tools(body.tools),
        "top_logprobs": body.top_logprobs or 0,
        "top_p": job.sampling.top_p,
        "truncation": "disabled",
    }


def _typed_choice(choice: ToolChoice | None) -> ToolChoice:
    if isinstance(choice, ChosenResponseTools) and choice.tools is not None:
        return replace(
            choice, tools=[replace(tool, type=tool.type or "function") for tool in choice.tools]
        )
    return choice or "auto"


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        # Prefixes are retained without a request for it, so no token counts as a cache write.
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
