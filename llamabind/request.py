"""The engine's input and output: plain values that can be sent to another process.

Objects made for each token are msgspec Structs: making one takes a tenth of the time that a frozen
dataclass takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

import msgspec

from llamabind.checks import INT32_MAX, check_float, check_int
from llamabind.errors import InvalidParameterError
from llamabind.media.medium import check_media
from llamabind.sampling.params import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.media.medium import Medium
    from llamabind.sampling.token_mask import MaskGrammar

MAX_STOP_BYTES = 32_768
MAX_LOGPROBS = 256


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    """The model ended its answer, or a stop string was found."""
    LENGTH = "length"
    """`max_tokens` or the end of the context was reached."""
    ABORT = "abort"
    """The request was cancelled."""
    ERROR = "error"
    """The request failed; `RequestOutput.error` says why."""


class TokenLogprob(msgspec.Struct, frozen=True):
    """The log-probability of a token under the model's raw logits, before any sampler.

    `top` are the most likely tokens at this position with their log-probabilities, the likeliest
    first. With `post_sampling_probs` all of them are those that the samplers leave.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class LogitsProcessor(Protocol):
    """A callable that changes the logits of one request before its samplers read them."""

    def __call__(self, tokens: Sequence[int], logits: NDArray[np.float32], /) -> None:
        """Change `logits`, shape (n_vocab,), in place.

        `tokens` are those of the prompt, then those that were generated.

        Called on the engine's thread, so all requests wait until it returns. An exception ends this
        request with FinishReason.ERROR. `logits` is a view that is valid only in the call.
        """


@dataclass(frozen=True, slots=True)
class ReasoningTags:
    """The texts around the reasoning of an answer; `is_open` if the prompt ends inside it."""

    start: str
    ends: tuple[str, ...]
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and how to continue it. Raises InvalidParameterError.

    `prompt_tokens` are token ids, at least one. `max_tokens` limits the generated tokens, including
    the one that ends the answer; with None the answer goes on until the model ends it or the
    context is full. The model cannot end an answer that has fewer than `min_tokens` tokens. `stop`
    strings end the answer and are not part of it; they are not searched for inside the reasoning
    that `reasoning_tags` enclose. `template_stop` strings end the answer inside the reasoning too.
    The text contains the control tokens in `preserved_tokens` (tool-call markers) and no others.

    `logprobs` n returns each token's log-probability and those of the n most likely tokens;
    with `post_sampling_probs` after the samplers instead of before them. `prompt_logprobs` does so
    for the prompt, which is then computed without a cached prefix.
    Waiting requests are started in turn between different `caller` values, so one caller with many
    requests does not delay the others; a lower `priority` starts first. A request that has not
    started after `max_queue_seconds` ends with FinishReason.ERROR. `return_progress` returns an
    output without text after each computed part of the prompt, `timings_per_token` the timings with
    every output. With `cache_prompt` False no cached prefix is used. `id_slot` is the sequence id
    to run in, modulo the number of slots: the prefix that it retains is evicted. If another request
    is running in it, the engine chooses another slot. Once the answer contains a newline, it ends
    `t_max_predict_ms` milliseconds after its first token.

    `mask` is made from a JSON schema; it allows only tokens that continue a valid answer.

    `lora` has the scale of each adapter of the model for this request; None takes those of the
    engine. If the engine shifts contexts (EngineConfig.context_shift) and a sequence fills its own,
    `n_discard` tokens after the first `n_keep` are dropped; 0 drops half of them, `n_keep` -1 keeps
    the prompt.

    `media` are images and audio: their vectors are computed in place of the pseudo-tokens (ids
    below 0) that stand for them in `prompt_tokens`; llamabind.media.medium.lay_out makes both. Such
    a prompt must end in text and cannot have `prompt_logprobs`; `logits_processors` see the
    pseudo-tokens.
    """

    request_id: str
    prompt_tokens: tuple[int, ...]
    media: tuple[Medium, ...] = ()
    sampling: SamplingParams = field(default_factory=SamplingParams)
    mask: MaskGrammar | None = None
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    template_stop: tuple[str, ...] = ()
    reasoning_tags: ReasoningTags | None = None
    preserved_tokens: frozenset[int] = frozenset()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    post_sampling_probs: bool = False
    logits_processors: tuple[LogitsProcessor, ...] = ()
    caller: str = ""
    priority: int = 0
    max_queue_seconds: float | None = None
    return_progress: bool = False
    cache_prompt: bool = True
    id_slot: int | None = None
    lora: tuple[float, ...] | None = None
    n_keep: int = 0
    n_discard: int = 0
    timings_per_token: bool = False
    t_max_predict_ms: int | None = None

    def __post_init__(self) -> None:
        self._check_prompt()
        if self.max_tokens is not None:
            check_int("max_tokens", self.max_tokens, 0, INT32_MAX)
        check_int("min_tokens", self.min_tokens, 0, INT32_MAX)
        check_int("priority", self.priority, -INT32_MAX, INT32_MAX)
        check_int("n_keep", self.n_keep, -1, INT32_MAX)
        check_int("n_discard", self.n_discard, 0, INT32_MAX)
        for scale in self.lora or ():
            check_float("lora", scale)
        if self.id_slot is not None:
            check_int("id_slot", self.id_slot, 0, INT32_MAX)
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 0, MAX_LOGPROBS)
        if self.max_queue_seconds is not None:
            check_float("max_queue_seconds", self.max_queue_seconds, 0.0)
        if self.t_max_predict_ms is not None:
            check_int("t_max_predict_ms", self.t_max_predict_ms, 0, INT32_MAX)
        self._check_stop()
        if self.media:
            self._check_media()

    def _check_prompt(self) -> None:
        if len(self.prompt_tokens) == 0:
            raise InvalidParameterError("prompt", "must have at least one token")
        tokens: tuple[object, ...] = self.prompt_tokens
        for token in tokens:
            if not isinstance(token, Integral):  # includes numpy's integers
                raise InvalidParameterError("prompt", f"expected token ids, but got {token!r}")

    def _check_media(self) -> None:
        check_media(self.prompt_tokens, self.media)
        if self.prompt_logprobs is not None:
            raise InvalidParameterError(
                "prompt_logprobs", "not available for a prompt with images or audio"
            )

    def _check_stop(self) -> None:
        n_bytes = 0
        for stop in self.stop:
            if not isinstance(stop, str):
                raise InvalidParameterError("stop", f"expected a string, but got {stop!r}")
            if not stop:
                raise InvalidParameterError("stop", "a stop string is empty")
            n_bytes += len(stop.encode(errors="replace"))
        if n_bytes > MAX_STOP_BYTES:
            raise InvalidParameterError(
                "stop",
                f"the {len(self.stop)} strings have {n_bytes} bytes together, the limit is "
                f"{MAX_STOP_BYTES}",
            )


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one request; `cached_tokens` of the prompt came from a cached prefix."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Timings(msgspec.Struct, frozen=True):
    """Milliseconds that a request spent in the queue, in its prompt and in its answer.

    `draft_n` counts its draft tokens (speculative decoding), `draft_n_accepted` the accepted ones.
    """

    queue_ms: float
    prompt_ms: float
    decode_ms: float
    draft_n: int = 0
    draft_n_accepted: int = 0


class PromptProgress(msgspec.Struct, frozen=True):
    """Prompt tokens in the KV cache, cached ones included, and milliseconds since the start."""

    n_processed: int
    time_ms: float


class ErrorCode(StrEnum):
    """The kinds of failure that programs need to tell apart."""

    GRAMMAR_DEAD_END = "grammar_dead_end"
    """The grammar allows no token as the next one."""
    QUEUE_TIMEOUT = "queue_timeout"
    """The request waited longer than `max_queue_seconds` for a slot."""


class RequestOutput(msgspec.Struct, frozen=True):
    """New output of one request after one step.

    `text`, `token_ids` and `logprobs` (if requested, one for each token) are new since the previous
    output; concatenated they are the whole answer. `prompt_logprobs` come with the first output,
    one for each prompt token but the first, which has no token before it that predicts it. The last
    output has a `finish_reason`, `timings`, `seq_id` (the sequence id whose KV cells the request
    leaves as a retained prefix), `truncated` (the context was too small for prompt and answer) and,
    if a stop string ended the answer, `stop_string`. With
    FinishReason.ERROR it has an `error` and, for some kinds of failure, an `error_code`.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    usage: Usage
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    error: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    stop_string: str | None = None
    error_code: ErrorCode | None = None
    progress: PromptProgress | None = None
    seq_id: int | None = None
    truncated: bool = False
