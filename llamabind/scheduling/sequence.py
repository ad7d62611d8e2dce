"""One request while it runs: its tokens, what of them is computed, and the text it has said."""

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
from llamabind.scheduling.detokenizer import Detokenizer
from llamabind.scheduling.stop_strings import StopMatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.kv_cache.slot import Slot
    from llamabind.media.medium import Medium
    from llamabind.scheduling.sampled import SampledRun, SampledToken


class SequenceStatus(Enum):
    """Where a sequence is in its life; parking leads from RUNNING back to WAITING."""

    WAITING = auto()
    RUNNING = auto()
    FINISHED = auto()


class Vocabulary(Protocol):
    """What a sequence needs to know about tokens (Tokenizer has it, tests fake it)."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of a token, control tokens only where `special`."""

    def is_eog(self, token: int) -> bool:
        """Tell whether the token ends a generation."""


@dataclass(slots=True)
class Moments:
    """When things happened to a sequence, in seconds of one monotonic clock."""

    arrived: float
    started: float | None = None
    first_token: float | None = None


class Sequence:
    """A request being run. Used only on the engine thread.

    `tokens` are the prompt and all generated tokens; the first `n_computed` of them have their KV
    cells in `slot`. The last token of a decoding sequence is always uncomputed: the next step
    computes it and samples its follower.
    """

    def __init__(
        self,
        request: GenerationRequest,
        vocabulary: Vocabulary,
        n_ctx: int,
        arrival: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.request = request
        self.arrival = arrival
        self.tokens = array("i", request.prompt_tokens)
        self.n_prompt = len(self.tokens)
        self.n_computed = 0
        self.n_cached = 0
        self.planned_at = 0  # the scheduler's count of chunks when it had its latest
        self.n_drafted = 0
        self.n_draft_accepted = 0
        self.slot: Slot | None = None
        self.status = SequenceStatus.WAITING
        self.finish_reason: FinishReason | None = None
        self._vocabulary = vocabulary
        self._n_ctx = n_ctx
        self._clock = clock
        self._moments = Moments(clock())
        self._detokenizer = Detokenizer()
        self._stop = StopMatcher(request.stop)
        self._prompt_logprobs: list[TokenLogprob] = []
        self._has_new_line = False

    @property
    def request_id(self) -> str:
        """The id its outputs carry."""
        return self.request.request_id

    @property
    def n_generated(self) -> int:
        """How many tokens were sampled."""
        return len(self.tokens) - self.n_prompt

    @property
    def n_remaining(self) -> int:
        """How many tokens wait to be computed: 1 while it decodes, more in its prompt."""
        return len(self.tokens) - self.n_computed

    @property
    def is_decoding(self) -> bool:
        """True once only the newest sampled token is uncomputed."""
        return self.n_remaining == 1 and self.n_generated > 0

    @property
    def n_may_generate(self) -> int:
        """How many more tokens it may sample at most."""
        room = self._n_ctx - len(self.tokens)
        if self.request.max_tokens is None:
            return room
        return min(room, self.request.max_tokens - self.n_generated)

    @property
    def has_started(self) -> bool:
        """True once it had a seat, parked or not."""
        return self._moments.started is not None

    @property
    def is_overdue(self) -> bool:
        """True if it has waited longer for its first step than its request allows."""
        limit = self.request.max_queue_seconds
        if limit is None or self._moments.started is not None:
            return False
        return self._clock() - self._moments.arrived > limit

    def start(self, slot: Slot, n_cached: int) -> None:
        """Begin, or resume after parking, with `n_cached` tokens already in `slot`."""
        self.slot = slot
        self.n_computed = n_cached
        self.status = SequenceStatus.RUNNING
        if self._moments.started is None:
            self._moments.started = self._clock()
            self.n_cached = n_cached

    def preempt(self) -> None:
        """Lose the slot; everything must be computed again."""
        self.slot = None
        self.n_computed = 0
        self.status = SequenceStatus.WAITING

    def append(self, run: SampledRun) -> RequestOutput:
        """Take the sampled tokens and return what they add to the answer, finished or not.

        What was sampled behind the answer's end is not part of it.
        """
        if self.request.max_tokens == 0:
            # Only its prompt was of interest.
            return self._output("", [], FinishReason.LENGTH)
        if self._moments.first_token is None and run.tokens:
            self._moments.first_token = self._clock()
        said = ""
        reason: FinishReason | None = None
        taken: list[SampledToken] = []
        for sampled in run.tokens:
            self.tokens.append(sampled.token)
            taken.append(sampled)
            text, reason = self._say(sampled.token)
            said += text
            if reason is not None:
                return self._output(said, taken, reason)
        if run.error is None:
            return self._output(said, taken, None)
        is_dead_end = isinstance(run.error, GrammarError)
        return replace(
            self._output(said, taken, FinishReason.ERROR),
            error=str(run.error),
            error_code=ErrorCode.GRAMMAR_DEAD_END if is_dead_end else None,
        )

    def finish(
        self, reason: FinishReason, error: str | None = None, code: ErrorCode | None = None
    ) -> RequestOutput:
        """End the sequence from outside."""
        return replace(self._output("", [], reason), error=error, error_code=code)

    def progress(self) -> RequestOutput:
        """Tell how much of the prompt is computed."""
        started = self._moments.started or self._clock()
        progress = PromptProgress(self.n_computed, 1e3 * (self._clock() - started))
        return RequestOutput(self.request_id, "", (), self.usage, progress=progress)

    def add_prompt_logprobs(self, start: int, logprobs: list[TokenLogprob]) -> None:
        """Keep log-probabilities of prompt tokens from index `start` on; parking repeats some."""
        known = len(self._prompt_logprobs) + 1
        self._prompt_logprobs.extend(logprobs[known - start :])

    @property
    def may_reuse(self) -> bool:
        """True if a prefix that somebody computed before may be taken over."""
        return self.request.cache_prompt and not self.wants_prompt_logprobs

    @property
    def wants_prompt_logprobs(self) -> bool:
        """True while the prompt must be computed with all its logits."""
        return self.request.prompt_logprobs is not None and self.n_generated == 0

    def next_medium(self) -> Medium | None:
        """Return the medium at or behind the first uncomputed token, if any."""
        for medium in self.request.media:
            if medium.end > self.n_computed:
                return medium
        return None

    def position(self, index: int) -> int:
        """Return where the token at `index` stands for the model; it is not inside of a medium.

        Media with a grid take fewer positions than cells.
        """
        if not self.request.media:
            return index
        before = (medium for medium in self.request.media if medium.end <= index)
        return index - sum(len(medium.embeddings) - medium.n_positions for medium in before)

    def must_go_on_after(self, n_more: int) -> bool:
        """True while no token may end the answer, were it `n_more` tokens longer."""
        return self.n_generated + n_more < self.request.min_tokens

    @property
    def usage(self) -> Usage:
        """The token counts so far."""
        return Usage(self.n_prompt, self.n_generated, self.n_cached)

    def _say(self, token: int) -> tuple[str, FinishReason | None]:
        """Return the text that `token` adds and whether it ends the answer."""
        if self._vocabulary.is_eog(token):
            return "", FinishReason.STOP
        special = token in self.request.preserved_tokens
        piece = self._vocabulary.piece(token, special=special)
        text = self._stop.feed(self._detokenizer.feed(piece))
        if self._stop.matched is not None:
            return text, FinishReason.STOP
        self._has_new_line |= b"\n" in piece
        is_over = self.n_may_generate <= 0 or self._is_out_of_time
        return text, FinishReason.LENGTH if is_over else None

    @property
    def _is_out_of_time(self) -> bool:
        limit, since = self.request.t_max_predict_ms, self._moments.first_token
        if not limit or since is None or not self._has_new_line:
            return False
        return 1e3 * (self._clock() - since) > limit

    def _output(
        self,
        text: str,
        taken: list[SampledToken],
        reason: FinishReason | None,
    ) -> RequestOutput:
        timings = None
        if reason is not None:
            self.status = SequenceStatus.FINISHED
            self.finish_reason = reason
            # What was held back comes out now.
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
            seq_id=self.slot.seq_id if reason is not None and self.slot is not None else None,
        )

    def _timings(self) -> Timings:
        now, moments = self._clock(), self._moments
        started = now if moments.started is None else moments.started
        first_token = now if moments.first_token is None else moments.first_token
        return Timings(
            queue_ms=1e3 * (started - moments.arrived),
            prompt_ms=1e3 * (first_token - started),
            decode_ms=1e3 * (now - first_token),
            draft_n=self.n_drafted,
            draft_n_accepted=self.n_draft_accepted,
        )
