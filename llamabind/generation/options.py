"""Keyword options of generate(), chat() and stream() beside SamplingParams; pure Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llamabind.request import LogitsProcessor


class GenerationOptions(TypedDict, total=False):
    """Options of one request, see GenerationRequest; `stop` may be a single string.

    The answer follows `json_schema`. A keyword that cannot be enforced is an error; with
    `lenient_schema` it is left out with a warning, as for tools that are not `strict`.
    """

    max_tokens: int | None
    min_tokens: int
    stop: str | Sequence[str]
    logprobs: int | None
    prompt_logprobs: int | None
    post_sampling_probs: bool
    logits_processors: Sequence[LogitsProcessor]
    caller: str
    priority: int
    max_queue_seconds: float | None
    return_progress: bool
    cache_prompt: bool
    id_slot: int | None
    lora: tuple[float, ...] | None
    n_keep: int
    n_discard: int
    timings_per_token: bool
    t_max_predict_ms: int | None
    json_schema: Mapping[str, Any] | None
    lenient_schema: bool


class TemplateOptions(TypedDict, total=False):
    """Options of ChatTemplate.render."""

    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
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
SCHEMA_OPTIONS: Final = frozenset({"json_schema", "lenient_schema"})
REQUEST_OPTIONS: Final = frozenset(GenerationOptions.__annotations__) - SCHEMA_OPTIONS
