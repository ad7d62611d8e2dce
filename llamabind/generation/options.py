"""Keyword options of generate(), chat() and stream() beside SamplingParams; pure Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llamabind.request import LogitsProcessor


class GenerationOptions(TypedDict, total=False):
    """Options of one request, see GenerationRequest; `stop` may be a single string."""

    max_tokens: int | None
    min_tokens: int
    stop: str | Sequence[str]
    logprobs: int | None
    prompt_logprobs: int | None
    logits_processors: Sequence[LogitsProcessor]
    caller: str
    priority: int
    max_queue_seconds: float | None
    return_progress: bool
    cache_prompt: bool
    id_slot: int | None
    timings_per_token: bool
    t_max_predict_ms: int | None


class TemplateOptions(TypedDict, total=False):
    """Options of ChatTemplate.render.

    With `lenient_schema`, keywords of `json_schema` that no grammar can express are left out with a
    warning, as for tools that are not `strict`; otherwise they are an error.
    """

    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    json_schema: Mapping[str, Any]
    lenient_schema: bool
    reasoning_format: str
    reasoning_effort: str
    enable_thinking: bool
    add_generation_prompt: bool
    continue_final_message: bool
    chat_template_kwargs: Mapping[str, Any]


class GenerateOptions(GenerationOptions, total=False):
    """Options of generate(): `n` answers for each prompt, `progress` shows a bar (needs tqdm)."""

    n: int
    progress: bool


class StreamOptions(GenerationOptions, TemplateOptions, total=False):
    """Options of stream(); those of TemplateOptions for conversations only."""


class ChatOptions(GenerateOptions, TemplateOptions, total=False):
    """Options of chat()."""


TEMPLATE_OPTIONS: Final = frozenset(TemplateOptions.__annotations__)
REQUEST_OPTIONS: Final = frozenset(GenerationOptions.__annotations__)
