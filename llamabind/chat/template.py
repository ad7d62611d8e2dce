"""ChatTemplate: renders conversations with llama.cpp's Jinja engine and format detection."""

import atexit
import ctypes
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from llamabind._capi import shim
from llamabind._capi.shim import ChatHandle, TextHandle, lb_status
from llamabind._capi.shim_text import last_error, take_text
from llamabind.chat.builtin_templates import builtin_source, is_builtin_name
from llamabind.chat.examination import examine
from llamabind.chat.grammar_fixes import with_any_call_id, without_talk
from llamabind.chat.output_parser import OutputParser, ParsedMessage, ToolCall
from llamabind.chat.render_limit import check_limit, current_limit
from llamabind.chat.tools_as_text import TEMPLATE, has_tool_messages, with_tools_as_text
from llamabind.chat.turns import with_turns
from llamabind.errors import (
    ChatTemplateError,
    InvalidParameterError,
    LlamaError,
    RenderStoppedError,
    TemplateRefusedError,
)
from llamabind.native import backend
from llamabind.native.handle import Handle
from llamabind.sampling.params import GrammarTrigger
from llamabind.schema.errors import conversion_error
from llamabind.schema.workarounds import mended

if TYPE_CHECKING:
    from llamabind.native.model import Model

__all__ = [
    "ChatTemplate",
    "OutputParser",
    "ParsedMessage",
    "RenderedPrompt",
    "TemplateCapabilities",
    "ToolCall",
]


@dataclass(frozen=True, slots=True)
class TemplateCapabilities:
    """What a template supports, as llama.cpp detects by rendering it (jinja/caps.h)."""

    supports_thinking: bool
    supports_tools: bool
    supports_tool_calls: bool
    supports_parallel_tool_calls: bool
    supports_system_role: bool
    supports_string_content: bool
    supports_typed_content: bool
    supports_object_arguments: bool
    supports_preserve_reasoning: bool
    supports_reasoning_effort: bool


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt, and the settings for generating its answer (struct common_chat_params of chat.h).

    `grammar` and the three fields after it belong in SamplingParams; `stops` are stop strings.
    `preserved_tokens` are special tokens that must appear in the text of the answer, because
    ChatTemplate.parser reads them. `generation_prompt` is the end of `prompt` with which the answer
    begins, such as "<|im_start|>assistant".
    """

    prompt: str
    format: str
    grammar: str
    grammar_lazy: bool
    grammar_triggers: tuple[GrammarTrigger, ...]
    grammar_prefill: str
    generation_prompt: str
    preserved_tokens: tuple[str, ...]
    stops: tuple[str, ...]
    supports_thinking: bool
    thinking_start_tag: str
    thinking_end_tags: tuple[str, ...]
    parser_spec: str


class ChatTemplate(Handle[ChatHandle]):
    """A parsed chat template (lb_chat of csrc/llamabind.h). Several threads may render at once."""

    def __init__(self, model: "Model | None", override: str | None = None) -> None:
        """Parse the template of `model`, or `override` instead (then `model` may be None).

        `override` is Jinja source, or the name of a built-in template of llama.cpp such as
        "llama3". A model without a template gets ChatML. Raises ChatTemplateError if it cannot be
        parsed, or does not finish.
        """
        backend.init()
        source = override
        if override is not None and is_builtin_name(override):
            source = builtin_source(override)
        text = None if source is None else source.encode(errors="replace")
        if text is not None and b"\0" in text:
            raise ChatTemplateError("the template contains a NUL character")
        handle, facts = examine(None if model is None else model.ptr, text)
        super().__init__(handle, *([] if model is None else [model]))
        self.name = _name(model, override)
        self.source: str = facts["source"]
        self.is_explicit: bool = facts["explicit"]  # false for the ChatML default
        self.capabilities = TemplateCapabilities(
            **{field.name: facts[field.name] for field in fields(TemplateCapabilities)}
        )

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> RenderedPrompt:
        """Render a conversation whose messages and tools have OpenAI's format.

        `options` are tool_choice, parallel_tool_calls, add_generation_prompt (True),
        continue_final_message, grammar, reasoning_format, reasoning_effort,
        enable_thinking, chat_template_kwargs, force_pure_content, shown_tools and now, as
        lb_chat_render of csrc/llamabind.h describes them. If a template has no format for tools,
        tools_as_text first rewrites the conversation. InvalidParameterError names the field
        (in messages and tools with the index), TemplateRefusedError has the message that the
        template raised, ChatTemplateError means that the template itself fails.
        """
        unknown = options.keys() - _OPTIONS
        if unknown:
            raise InvalidParameterError(min(unknown), "is not an option of a chat template")
        if not self.capabilities.supports_tool_calls:
            may_call = bool(tools) and options.get("tool_choice") != "none"
            if may_call or has_tool_messages(messages):
                return _rendered(
                    self._with_tools_as_text(messages, tools if may_call else None, options)
                )
        return _rendered(self._answer_format(messages, tools, options))

    def _answer_format(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The prompt, and the grammar and parser of its answer with the fixes of grammar_fixes."""
        answer = self._render_turns({"messages": messages, "tools": tools, **options})
        if options.get("tool_choice") not in _OPTIONAL_CALLS:
            answer["grammar"] = without_talk(answer["grammar"])
        if not self.is_explicit:
            # The vocabulary may not have it as a token, so generation must stop at its text.
            answer["additional_stops"].append(_CHATML_END)
        if not options.get("grammar"):
            answer["grammar"] = mended(answer["grammar"])
            answer["grammar"], answer["parser"] = with_any_call_id(
                answer["grammar"], answer["parser"]
            )
        return answer

    def _with_tools_as_text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The prompt with the tools in the system message, and the format of TEMPLATE for calls.

        Raises InvalidParameterError if the template refuses only the conversation with tools.
        """
        plain = {key: value for key, value in options.items() if key not in _TOOL_OPTIONS}
        # This checks messages and tools, so errors name their fields.
        calls = _text_tools_template()._answer_format(messages, tools, options if tools else plain)
        if tools is None:
            return self._answer_format(with_tools_as_text(messages, None), None, plain)
        # A grammar of the answer belongs to the format of calls.
        pure = {key: value for key, value in plain.items() if key != "grammar"}
        shown = options.get("shown_tools") or tools
        try:
            answer = self._answer_format(with_tools_as_text(messages, shown), None, pure)
        except TemplateRefusedError:
            self._answer_format(with_tools_as_text(messages, None), None, pure)
            raise InvalidParameterError("tools", f"{self.name} does not support tools") from None
        return answer | {name: calls[name] for name in _CALL_FORMAT}

    def _render_turns(self, request: dict[str, Any]) -> dict[str, Any]:
        """Render; if the template refuses the order of roles, merge messages and render again."""
        try:
            return self._render_once(request)
        except TemplateRefusedError:
            turns = with_turns(request["messages"])
            if turns == [dict(message) for message in request["messages"]]:
                raise
            with suppress(TemplateRefusedError):
                return self._render_once(request | {"messages": turns})
            raise

    def _render_once(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(
                _take(shim.lb_chat_render(self.ptr, _to_json(request), *_limit()))
            )
        except InvalidParameterError as error:
            message = error.message.replace("this model's chat template", self.name)
            raise InvalidParameterError(error.field, message) from None
        except RenderStoppedError:
            check_limit()  # its message has the limit of the whole request
            raise
        return answer

    def parser(self, rendered: RenderedPrompt) -> OutputParser:
        """Return a new parser for an answer to `rendered`; the caller closes it."""
        return OutputParser(rendered.parser_spec)

    def _free(self, handle: ChatHandle) -> None:
        shim.lb_chat_free(handle)


def _name(model: "Model | None", override: str | None) -> str:
    file = None if model is None else model.path.name
    if override is None:
        return "the chat template" if file is None else f"the chat template of {file}"
    return "the chat template given" if file is None else f"the chat template given for {file}"


@cache
def _text_tools_template() -> ChatTemplate:
    """The format of calls for templates that have none; one for the life of the process."""
    template = ChatTemplate(None, TEMPLATE)
    atexit.register(template.close)
    return template


_TOOL_OPTIONS = ("tool_choice", "parallel_tool_calls", "shown_tools")
# The fields of a rendering with calls that the format of calls sets, not the model's template.
_CALL_FORMAT = (
    "format",
    "grammar",
    "grammar_lazy",
    "grammar_triggers",
    "grammar_prefill",
    "preserved_tokens",
    "parser",
)
_CHATML_END = "<|im_end|>"
_OPTIONAL_CALLS = (None, "auto", "none")
_OPTIONS = frozenset(
    {
        "tool_choice",
        "parallel_tool_calls",
        "add_generation_prompt",
        "continue_final_message",
        "shown_tools",
        "grammar",
        "reasoning_format",
        "reasoning_effort",
        "enable_thinking",
        "chat_template_kwargs",
        "force_pure_content",
        "now",
    }
)


def _limit() -> tuple[float, Any]:
    """The most seconds that a rendering may take, and the flag that stops it."""
    check_limit()
    limit = current_limit()
    if limit is None:
        return 0.0, None
    flag = ctypes.c_int32.from_buffer(limit.stop.value)
    return limit.seconds_left, ctypes.pointer(flag)


def _to_json(request: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(request, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError("messages", f"cannot be written as JSON: {error}") from error


def _take(text: TextHandle | None) -> bytes:
    if not text:
        raise _error(shim.lb_last_status(), last_error())
    return take_text(text)


def _error(status: int, message: str) -> LlamaError:
    if status == lb_status.LB_REFUSED:
        return TemplateRefusedError(message)
    if status == lb_status.LB_STOPPED:
        return RenderStoppedError(message)
    if status == lb_status.LB_INVALID:
        return conversion_error(message)
    return ChatTemplateError(message)


def _rendered(answer: Mapping[str, Any]) -> RenderedPrompt:
    return RenderedPrompt(
        prompt=answer["prompt"],
        format=answer["format"],
        grammar=answer["grammar"],
        grammar_lazy=answer["grammar_lazy"],
        grammar_triggers=tuple(_trigger(item) for item in answer["grammar_triggers"]),
        grammar_prefill=answer["grammar_prefill"],
        generation_prompt=answer["generation_prompt"],
        preserved_tokens=tuple(answer["preserved_tokens"]),
        stops=tuple(answer["additional_stops"]),
        supports_thinking=answer["supports_thinking"],
        thinking_start_tag=answer["thinking_start_tag"],
        thinking_end_tags=tuple(answer["thinking_end_tags"]),
        parser_spec=answer["parser"],
    )


def _trigger(item: Mapping[str, Any]) -> GrammarTrigger:
    is_token = item["type"] == "token"
    return GrammarTrigger(item["type"], item["value"], item["token"] if is_token else None)
