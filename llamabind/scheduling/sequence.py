"""Sequence: one request in the engine, with its tokens, its KV state and the text of its answer."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from llamabind.errors import GrammarError
from llamabind.request import (
    ErrorCode,
    FinishReason,
    GenerationRequest,
    PromptProgress,
    RequestOutput,
    Timings,
    TokenLogprob,
    Usage,
)
from llamabind.scheduling.answer_stops import AnswerStops
from llamabind.scheduling.detokenizer import Detokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.kv_cache.slot import Adapters, Slot
    from llamabind.media.medium import Medium
    from llamabind.scheduling.sampled import SampledRun, SampledToken


class SequenceStatus(Enum):
    """The state of a sequence. Preemption leads from RUNNING back to WAITING."""

    WAITING = auto()
    RUNNING = auto()
    FINISHED = auto()


class Vocabulary(Protocol):
    """The functions of Tokenizer that a sequence needs; tests have a fake."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of a token; a control token has none unless `special`."""

    def is_eog(self, token: int) -> bool:
        """True if the token ends an answer."""


@dataclass(slots=True)
class _Times:
    """When a sequence arrived, started and got its first token, in seconds of its clock."""

    arrived: float
    started: float | None = None
    first_token: float | None = None


class Sequence:
    """A waiting, running or finished request. Used only on the engine thread.

    `tokens` are the prompt and all generated tokens; the first `n_computed` of them have KV cells
    in `slot`. The last token of a decoding sequence is always uncomputed: the next step computes it
    and samples the token after it. `adapters` are the LoRA scales to compute it with. With
    `may_shift` a full context does not end the answer: older tokens are dropped (`shift`).
    """

    def __init__(
        self,
        request: GenerationRequest,
        vocabulary: Vocabulary,
        n_ctx: int,
        arrival: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        *,
        may_shift: bool = False,
    ) -> None:
        self.request = request
        self.request_id = request.request_id
        self.arrival = arrival
        self.tokens = array("i", request.prompt_tokens)
        self.n_prompt = len(self.tokens)
        self.n_computed = 0
        self.n_cached = 0
        self.n_dropped = 0  # tokens that context shifts have dropped
        self.adapters: Adapters = ()
        self.planned_at = 0  # the number of its latest chunk, counted over all sequences
        self.n_drafted = 0
        self.n_draft_accepted = 0
        self.slot: Slot | None = None
        self.status = SequenceStatus.WAITING
        self.finish_reason: FinishReason | None = None
        self._vocabulary = vocabulary
        self._n_ctx = n_ctx
        # Positions of media depend on all tokens before them.
        self._may_shift = may_shift and not request.media
        self._clock = clock
        self._times = _Times(clock())
        self._detokenizer = Detokenizer()
        self._stop = AnswerStops(request.stop, request.template_stop, request.reasoning_tags)
        self._has_stops = not self._stop.is_idle
        self._prompt_logprobs: list[TokenLogprob] = []
        self._has_new_line = False
        self._has_details = (
            request.timings_per_token
            or request.logprobs is not None
            or request.prompt_logprobs is not None
        )
        """Whether an output may have more than text and tokens before the last one."""

    @property
    def n_generated(self) -> int:
        """The number of sampled tokens."""
        return len(self.tokens) + self.n_dropped - self.n_prompt

    @property
    def n_remaining(self) -> int:
        """The number of uncomputed tokens: 1 while decoding, more in the prompt."""
        return len(self.tokens) - self.n_computed

    @property
    def is_decoding(self) -> bool:
        """True if only the newest sampled token is uncomputed."""
        n_tokens = len(self.tokens)
        return n_tokens - self.n_computed == 1 and n_tokens + self.n_dropped > self.n_prompt

    @property
    def n_may_generate(self) -> int:
        """The most tokens that may still be sampled before the context is full."""
        n_left = self._n_ctx - len(self.tokens)
        if self.request.max_tokens is None:
            return n_left
        return min(n_left, self.request.max_tokens - self.n_generated)

    @property
    def must_shift(self) -> bool:
        """True if the context is full, and older tokens can be dropped to continue."""
        return self._may_shift and len(self.tokens) >= self._n_ctx

    @property
    def is_truncated(self) -> bool:
        """True if the context was too small: it ended the answer, or tokens were dropped."""
        return self.n_dropped > 0 or len(self.tokens) >= self._n_ctx

    def shift(self) -> int:
        """Drop tokens after the first `n_keep` of the request; return how many come before the gap.

        As in llama-server `n_discard` tokens are dropped, or half of those after the kept ones.
        """
        n_keep, n_tokens = self.request.n_keep, len(self.tokens)
        n_keep = min(self.n_prompt if n_keep < 0 else n_keep, max(self._n_ctx - 4, 0))
        n_left = n_tokens - n_keep
        n_discard = min(max(self.request.n_discard or n_left // 2, 1), n_left - 1)
        del self.tokens[n_keep : n_keep + n_discard]
        self.n_dropped += n_discard
        return n_keep

    @property
    def has_started(self) -> bool:
        """True once the sequence has had a slot, even if it was preempted since."""
        return self._times.started is not None

    @property
    def is_overdue(self) -> bool:
        """True if the sequence has waited for its first slot longer than `max_queue_seconds`."""
        limit = self.request.max_queue_seconds
        if limit is None or self._times.started is not None:
            return False
        return self._clock() - self._times.arrived > limit

    def start(self, slot: Slot, n_cached: int) -> None:
        """Start, or resume after a preemption, with `n_cached` tokens already in `slot`."""
        self.slot = slot
        self.n_computed = n_cached
        self.status = SequenceStatus.RUNNING
        if self._times.started is None:
            self._times.started = self._clock()
            self.n_cached = n_cached

    def preempt(self) -> None:
        """Take the slot away; all tokens must be computed again."""
        self.slot = None
        self.n_computed = 0
        self.status = SequenceStatus.WAITING

    def append(self, run: SampledRun) -> RequestOutput:
        """Add sampled tokens and return their output, with a finish_reason if they end the answer.

        Tokens that were sampled after the end of the answer are dropped.
        """
        if self.request.max_tokens == 0:
            # The request is only for prompt_logprobs.
            return self._output("", FinishReason.LENGTH, [])
        if self._times.first_token is None and run.tokens:
            self._times.first_token = self._clock()
        if len(run.tokens) == 1 and run.error is None:
            token = run.tokens[0].token
            self.tokens.append(token)
            return self._output(*self._take_token(token), run.tokens)
        text = ""
        reason: FinishReason | None = None
        taken: list[SampledToken] = []
        for sampled in run.tokens:
            self.tokens.append(sampled.token)
            taken.append(sampled)
            added, reason = self._take_token(sampled.token)
            text += added
            if reason is not None:
                return self._output(text, reason, taken)
        if run.error is None:
            return self._output(text, None, taken)
        is_dead_end = isinstance(run.error, GrammarError)
        return replace(
            self._output(text, FinishReason.ERROR, taken),
            error=str(run.error),
            error_code=ErrorCode.GRAMMAR_DEAD_END if is_dead_end else None,
        )

    def finish(
        self, reason: FinishReason, error: str | None = None, code: ErrorCode | None = None
    ) -> RequestOutput:
        """End the sequence because it was cancelled, timed out or failed."""
        return replace(self._output("", reason, []), error=error, error_code=code)

    def progress(self) -> RequestOutput:
        """Return an output without text that says how much of the prompt is computed."""
        started = self._times.started or self._clock()
        progress = PromptProgress(self.n_computed, 1e3 * (self._clock() - started))
        timings = None
        if self.request.timings_per_token:
            timings = replace(self._timings(), prompt_ms=progress.time_ms)
        return RequestOutput(
            self.request_id, "", (), self.usage, progress=progress, timings=timings
        )

    def add_prompt_logprobs(self, start: int, logprobs: list[TokenLogprob]) -> None:
        """Add log-probabilities of the prompt tokens from index `start` on.

        After a preemption some come again; those are dropped.
        """
        known = len(self._prompt_logprobs) + 1
        self._prompt_logprobs.extend(logprobs[known - start :])

    @property
    def may_reuse(self) -> bool:
        """True if the sequence may use a cached prefix."""
        return self.request.cache_prompt and not self.wants_prompt_logprobs

    @property
    def wants_prompt_logprobs(self) -> bool:
        """True while the prompt is computed with logits for every token."""
        return self.request.prompt_logprobs is not None and self.n_generated == 0

    def next_medium(self) -> Medium | None:
        """Return the medium at or after the first uncomputed token, if any."""
        for medium in self.request.media:
            if medium.end > self.n_computed:
                return medium
        return None

    def position(self, index: int) -> int:
        """Return the model's position of the token at `index`, which must not be inside a medium.

        It differs from the index after media with a grid: they have fewer positions than cells.
        """
        if not self.request.media:
            return index
        before = (medium for medium in self.request.media if medium.end <= index)
        return index - sum(len(medium.embeddings) - medium.n_positions for medium in before)

    def must_continue_after(self, n_more: int) -> bool:
        """True if `min_tokens` forbids the answer to end after `n_more` more tokens."""
        return self.n_generated + n_more < self.request.min_tokens

    @property
    def usage(self) -> Usage:
        """The current token counts."""
        return Usage(self.n_prompt, self.n_generated, self.n_cached)

    def _take_token(self, token: int) -> tuple[str, FinishReason | None]:
        """Return the text that `token` adds, and the finish reason if it ends the answer."""
        if self._vocabulary.is_eog(token):
            return "", FinishReason.STOP
        piece = self._vocabulary.piece(token, special=token in self.request.preserved_tokens)
        text = self._detokenizer.feed(piece)
        if self._has_stops:
            text = self._stop.feed(text)
            if self._stop.matched is not None:
                return text, FinishReason.STOP
        n_tokens, limit = len(self.tokens), self.request.max_tokens
        is_over = limit is not None and n_tokens + self.n_dropped - self.n_prompt >= limit
        is_over = is_over or (n_tokens >= self._n_ctx and not self._may_shift)
        if self.request.t_max_predict_ms:
            self._has_new_line |= b"\n" in piece
            is_over = is_over or self._is_out_of_time(self.request.t_max_predict_ms)
        return text, FinishReason.LENGTH if is_over else None

    def _is_out_of_time(self, limit: int) -> bool:
        since = self._times.first_token
        if since is None or not self._has_new_line:
            return False
        return 1e3 * (self._clock() - since) > limit

    def _output(
        self, text: str, reason: FinishReason | None, taken: list[SampledToken]
    ) -> RequestOutput:
        if reason is None and not self._has_details:
            # Nearly every token comes here. Values without names are the faster call.
            n_tokens = len(self.tokens) + self.n_dropped - self.n_prompt
            usage = Usage(self.n_prompt, n_tokens, self.n_cached)
            ids = (taken[0].token,) if len(taken) == 1 else tuple([one.token for one in taken])
            return RequestOutput(self.request_id, text, ids, usage)
        timings = None
        if reason is not None:
            self.status = SequenceStatus.FINISHED
            self.finish_reason = reason
            # Unfinished characters and possible beginnings of stop strings are text now.
            text += self._stop.feed(self._detokenizer.finish()) + self._stop.finish()
        if reason is not None or self.request.timings_per_token:
            timings = self._timings()
        prompt_logprobs, self._prompt_logprobs = self._prompt_logprobs, []
        return RequestOutput(
            request_id=self.request_id,
            text=text,
            token_ids=tuple(sampled.token for sampled in taken),
            usage=self.usage,
            finish_reason=reason,
            timings=timings,
            logprobs=tuple(sampled.logprob for sampled in taken if sampled.logprob is not None),
            prompt_logprobs=tuple(prompt_logprobs),
            stop_string=self._stop.matched,
            truncated=reason is not None and self.is_truncated,
            seq_id=self.slot.seq_id if reason is not None and self.slot is not None else None,
        )

    def _timings(self) -> Timings:
        now, times = self._clock(), self._times
        started = now if times.started is None else times.started
        first_token = now if times.first_token is None else times.first_token
        return Timings(
            queue_ms=1e3 * (started - times.arrived),
            prompt_ms=1e3 * (first_token - started),
            decode_ms=1e3 * (now - first_token),
            draft_n=self.n_drafted,
            draft_n_accepted=self.n_draft_accepted,
        )
