"""llama-server's own form of an answer."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Count = Annotated[int, Meta(ge=0)]


class NativeCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /completion and /infill, and the last event of each answer in a stream.

    `index` counts answers, n for each prompt; `id_slot` is the slot that retains the sequence, or
    -1. `prompt` is the text of its tokens, special ones included; with `truncated` the context was
    too small for prompt and answer.
    """

    index: Count
    content: str
    tokens: list[int]
    id_slot: int
    stop: Literal[True]
    model: str
    tokens_predicted: Count
    tokens_evaluated: Count
    generation_settings: dict[str, Any]
    prompt: str
    has_new_line: bool
    truncated: bool
    stop_type: Literal["eos", "limit", "word"]
    stopping_word: str
    tokens_cached: Count
    timings: dict[str, Any]
    completion_probabilities: list[Any] | UnsetType = UNSET
    prompt_logprobs: list[dict[str, Any] | None] | UnsetType = UNSET
