"""ChatTemplate: renders conversations with llama.cpp's Jinja engine and format detection."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from llamabind._capi import shim
from llamabind._capi.shim import ChatHandle, TextHandle, lb_status
from llamabind._capi.shim_text import last_error, take_text
from llamabind.chat.grammar_fixes import with_any_call_id, with_ended_reasoning, without_talk
from llamabind.chat.output_parser import OutputParser, ParsedMessage, ToolCall
from llamabind.errors import (
    ChatTemplateError,
    InvalidParameterError,
    LlamaError,
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

        A model without a template gets ChatML. Raises ChatTemplateError if it cannot be parsed.
        """
        backend.init()
        text = None if override is None else override.encode(errors="replace")
        if text is not None and b"\0" in text:
            raise ChatTemplateError("the template contains a NUL character")
        handle = shim.lb_chat_init(None if model is None else model.ptr, text)
        if not handle:
            raise ChatTemplateError(last_error())
        super().__init__(handle, *([] if model is None else [model]))
        self.name = _name(model, override)
        facts = json.loads(_take(shim.lb_chat_describe(handle)))
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
        continue_final_message, json_schema, grammar, reasoning_format, reasoning_effort,
        enable_thinking, chat_template_kwargs, force_pure_content, shown_tools and now, as
        lb_chat_render of csrc/llamabind.h describes them. InvalidParameterError names the field
        (in messages and tools with the index), TemplateRefusedError has the message that the
        template raised, ChatTemplateError means that the template itself fails.
        """
        unknown = options.keys() - _OPTIONS
        if unknown:
            raise InvalidParameterError(min(unknown), "is not an option of a chat template")
        if tools and options.get("tool_choice") not in _OPTIONAL_CALLS:
            # The answer must be a tool call, so the schema of a text answer does not apply.
            options.pop("json_schema", None)
        request = {"messages": messages, "tools": tools, **options}
        try:
            answer = json.loads(_take(shim.lb_chat_render(self.ptr, _to_json(request))))
        except InvalidParameterError as error:
            message = error.message.replace("this model's chat template", self.name)
            raise InvalidParameterError(error.field, message) from None
        if tools and options.get("tool_choice") != "none" and not answer["grammar"]:
            self._check_reads_calls()
        if options.get("tool_choice") not in _OPTIONAL_CALLS:
            answer["grammar"] = without_talk(answer["grammar"])
        if options.get("json_schema") is not None:
            answer["grammar"] = with_ended_reasoning(answer["grammar"])
        if not self.is_explicit:
            # The vocabulary may not have it as a token, so generation must stop at its text.
            answer["additional_stops"].append(_CHATML_END)
        if not options.get("grammar"):
            answer["grammar"] = mended(answer["grammar"])
            answer["grammar"], answer["parser"] = with_any_call_id(
                answer["grammar"], answer["parser"]
            )
        return _rendered(answer)

    def _check_reads_calls(self) -> None:
        if not self.capabilities.supports_tool_calls:
            raise InvalidParameterError("tools", f"{self.name} has no tool-call format")

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


_CHATML_END = "<|im_end|>"
_OPTIONAL_CALLS = (None, "auto", "none")
_OPTIONS = frozenset(
    {
        "tool_choice",
        "parallel_tool_calls",
        "add_generation_prompt",
        "continue_final_message",
        "json_schema",
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
