"""Fields that all requests for text share: sampling, limits, stop strings."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llamabind.generation.prompt_requests import MAX_ANSWERS
from llamabind.request import MAX_LOGPROBS
from llamabind.sampling.params import SamplingParams
from server.api.schema.sampling_words import breakers_of, reduced_seed, samplers_of, stops_of
from server.errors import InvalidRequestError
from server.http.body.lenient_values import CLAMPED
from server.protocol.sampling_fields import CommonSampling

TokenLimit = Annotated[int, Meta(ge=-1, le=2**31 - 1, extra=CLAMPED)]
ThinkingBudget = Annotated[int, Meta(ge=-1, le=2**31 - 1, extra=CLAMPED)]
AnswerCount = Annotated[int, Meta(ge=1, le=MAX_ANSWERS)]
LogprobCount = Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_YEAR_SECONDS = 31_536_000
# Digits of the largest token id.
_MAX_DIGITS = 10
# Fields whose values in a request have another form than in SamplingParams.
_CONVERTED = ("logit_bias", "samplers", "dry_sequence_breakers", "seed")
# A number, or as in llama-server false, which bans the token.
Bias = float | bool


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI's options of a streamed answer."""

    include_usage: bool | None = None


class LoraScale(msgspec.Struct, frozen=True):
    """The scale of the adapter `id` for this request; adapters that are not named get 0."""

    id: Annotated[int, Meta(ge=0, le=65_535)]
    scale: Annotated[float, Meta(ge=-1e4, le=1e4)]


class SamplingFields(CommonSampling, frozen=True, kw_only=True):
    """Fields of a request by llama-server's names. None (or null) is the default.

    Fields that SamplingParams has under the same name are passed to it unchanged.
    """

    temperature: Annotated[float, Meta(ge=0.0)] | None = None
    dry_sequence_breakers: str | tuple[str, ...] | None = None
    samplers: str | tuple[str, ...] | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None
    reasoning_budget_tokens: ThinkingBudget | None = None
    thinking_budget_tokens: ThinkingBudget | None = None
    reasoning_budget_message: str | None = None
    reasoning_budget_start_tag: str | None = None
    reasoning_budget_end_tags: tuple[str, ...] | None = None
    logit_bias: dict[str, Bias] | list[tuple[TokenId | str, Bias]] | None = None

    n: AnswerCount | None = None
    n_cmpl: AnswerCount | None = None
    stop: str | tuple[str, ...] | None = None
    n_predict: TokenLimit | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=CLAMPED)] | None = None

    stream_options: StreamOptions | None = None
    return_progress: bool | None = None
    prompt_logprobs: LogprobCount | None = None
    timings_per_token: bool | None = None
    t_max_predict_ms: Annotated[int, Meta(le=2**31 - 1, extra=CLAMPED)] | None = None
    cache_prompt: bool | None = None
    id_slot: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    lora: tuple[LoraScale, ...] | None = None
    n_keep: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    n_discard: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    post_sampling_probs: bool | None = None
    verbose: bool | None = None
    sse_ping_interval: Annotated[int, Meta(le=_YEAR_SECONDS)] | None = None
    priority: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=CLAMPED)] | None = None
    max_queue_seconds: Annotated[float, Meta(ge=0)] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the output stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def n_answers(self) -> int:
        """The number of answers; as in llama-server its `n_cmpl` takes precedence over `n`."""
        return self.n_cmpl or self.n or 1

    def refuse_several(self, prefix: str = "") -> None:
        """Raise InvalidRequestError for n > 1, in dialects whose documents have one answer."""
        if self.n_answers > 1:
            param = prefix + ("n_cmpl" if self.n_cmpl else "n")
            raise InvalidRequestError(
                f"field '{param}': {self.n_answers} answers were requested, but this endpoint "
                "returns one",
                param=param,
            )

    def job_fields(self) -> dict[str, Any]:
        """The fields of a Job that do not depend on the kind of prompt.

        Raises InvalidRequestError or InvalidParameterError naming the field.
        """
        ignored: list[str] = []
        chosen = self._chosen_sampling(ignored)
        return {
            "sampling": SamplingParams(**chosen),
            "given_sampling": tuple(chosen),
            "n": self.n_answers,
            "max_tokens": self._token_limit(),
            "min_tokens": self.min_tokens or 0,
            "stop": stops_of(self.stop, "stop", ignored),
            "logit_bias": self._logit_biases(),
            "prompt_logprobs": self.prompt_logprobs,
            "post_sampling_probs": bool(self.post_sampling_probs),
            "return_progress": bool(self.return_progress),
            "timings_per_token": bool(self.timings_per_token),
            # As in llama-server, 0 and below mean no limit.
            "t_max_predict_ms": self.t_max_predict_ms if (self.t_max_predict_ms or 0) > 0 else None,
            "cache_prompt": self.cache_prompt is not False,
            "id_slot": None if self.id_slot == -1 else self.id_slot,
            "lora": self._lora_scales(),
            "n_keep": self.n_keep or 0,
            "n_discard": self.n_discard or 0,
            "priority": self.priority or 0,
            "max_queue_seconds": self.max_queue_seconds,
            "ignored": tuple(ignored),
        }

    def _lora_scales(self) -> dict[int, float] | None:
        """Scales by adapter; None, also for an empty list, takes those of the model."""
        if not self.lora:
            return None
        return scales_by_adapter(((one.id, one.scale) for one in self.lora), "lora")

    def _chosen_sampling(self, ignored: list[str]) -> dict[str, Any]:
        """The fields of SamplingParams that the request sets.

        Adds a warning to `ignored` for each part that is left out.
        """
        chosen: dict[str, Any] = {
            name: value
            for name in SamplingParams.__dataclass_fields__
            if name not in _CONVERTED and (value := getattr(self, name, None)) is not None
        }
        chosen |= samplers_of(self.samplers, ignored)
        chosen |= breakers_of(self.dry_sequence_breakers, ignored)
        if self.reasoning_budget_tokens is None and self.thinking_budget_tokens is not None:
            chosen["reasoning_budget_tokens"] = self.thinking_budget_tokens
        if self.top_k is not None:
            # 0 and below keep the whole vocabulary.
            chosen["top_k"] = max(self.top_k, -1)
        if self.seed is not None:
            chosen["seed"] = reduced_seed(self.seed)
        return chosen

    def _token_limit(self) -> int | None:
        """The maximum number of tokens to generate; None is limited by the context only."""
        for limit in (self.n_predict, self.max_completion_tokens, self.max_tokens):
            if limit is not None:
                return None if limit == -1 else limit
        return None

    def _logit_biases(self) -> tuple[tuple[int | str, float], ...]:
        if isinstance(self.logit_bias, dict):
            pairs = [(_token(key), bias) for key, bias in self.logit_bias.items()]
        else:
            pairs = self.logit_bias or []
        return tuple((token, _bias(token, bias)) for token, bias in pairs)


def scales_by_adapter(pairs: Iterable[tuple[int, float]], param: str) -> dict[int, float]:
    """The scale of each adapter. Raises InvalidRequestError for one that is listed twice."""
    scales: dict[int, float] = {}
    for adapter, scale in pairs:
        if adapter in scales:
            raise InvalidRequestError(
                f"field '{param}': adapter {adapter} is listed twice; list each adapter once",
                param=param,
            )
        scales[adapter] = scale
    return scales


def _token(key: str) -> int | str:
    """The token id in a key of `logit_bias`, or the key itself if it is a text."""
    if not (key.isascii() and key.isdigit()):
        return key
    if len(key) > _MAX_DIGITS:
        raise InvalidRequestError(
            f"field 'logit_bias': {key[:_MAX_DIGITS]}... has too many digits for a token id",
            param="logit_bias",
        )
    return int(key)


def _bias(token: int | str, bias: Bias) -> float:
    if bias is True:
        raise InvalidRequestError(
            f"field 'logit_bias': the bias of {token!r} must be a number, or false to ban it",
            param="logit_bias",
        )
    return -math.inf if bias is False else float(bias)
