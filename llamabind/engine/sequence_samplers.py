"""SequenceSamplers: chooses the next tokens of the sequences in a step."""

from __future__ import annotations

import logging
import math
from array import array
from typing import TYPE_CHECKING, Final

from llamabind.engine.logprobs import top_logprobs
from llamabind.engine.step_masks import StepMasks, without_triggers
from llamabind.errors import LlamaError
from llamabind.request import TokenLogprob
from llamabind.sampling.final_probs import FinalProbs
from llamabind.sampling.sampler import Sampler, sample_many
from llamabind.scheduling.sampled import SampledRun, SampledToken

if TYPE_CHECKING:
    from collections.abc import Sequence as Tokens

    import numpy as np

    from llamabind.context.context import Context
    from llamabind.native.model import Model
    from llamabind.request import GenerationRequest
    from llamabind.sampling.params import SamplingParams
    from llamabind.scheduling.sequence import Sequence
    from llamabind.scheduling.step_plan import ScheduledChunk

logger = logging.getLogger(__name__)

_LOGITS_FOR_THREADS: Final = 1 << 17
"""Samplers without top_k read every logit, about 10 ns each with min_p or top_p; starting a thread
takes about 50 us.
"""


class SequenceSamplers:
    """The sampler, the token mask and the logits processors of each sequence.

    Only `add` may be called from any thread.
    """

    def __init__(self, model: Model, context: Context) -> None:
        self._model = model
        self._context = context
        self._tokenizer = model.tokenizer
        self._samplers: dict[str, Sampler] = {}
        self._masks = StepMasks(self._tokenizer)
        self._final_probs: dict[str, FinalProbs] = {}
        # Requests whose logits only the sampler reads: nothing else is done for their tokens.
        self._plain: set[str] = set()

    def add(self, request: GenerationRequest) -> None:
        """Make the sampler of a request; parsing a large grammar takes long."""
        self._masks.add(request)
        if request.min_tokens:
            # Read here, once for each model, and not between two steps.
            _ = self._tokenizer.eog_tokens
        sampling, tokens = request.sampling, request.prompt_tokens
        if request.post_sampling_probs and request.logprobs is not None:
            final = FinalProbs(self._model, sampling, self._context.n_ctx_seq)
            for token in _penalised(sampling, tokens):
                final.accept(token)
            self._final_probs[request.request_id] = final
        self._samplers[request.request_id] = self._make_sampler(sampling, tokens)
        if (
            not (request.mask or request.min_tokens or request.logits_processors)
            and request.logprobs is None
        ):
            self._plain.add(request.request_id)

    def release(self, request_id: str) -> None:
        """Free the sampler; unknown ids are ignored."""
        self._masks.release(request_id)
        self._plain.discard(request_id)
        sampler = self._samplers.pop(request_id, None)
        if sampler is not None:
            sampler.close()
        final = self._final_probs.pop(request_id, None)
        if final is not None:
            final.close()

    def close(self) -> None:
        """Free all samplers."""
        for request_id in list(self._samplers):
            self.release(request_id)

    def sample(self, last: list[tuple[ScheduledChunk, int]]) -> list[SampledRun]:
        """Sample the tokens after each chunk; the index is that of its last token in the batch.

        Tokens are sampled one position after the other, as without a draft: if the sampled token
        equals the draft's, the next one is sampled from the logits after it.
        """
        plain = self._sample_plain(last)
        if plain is not None:
            return plain
        runs = [SampledRun() for _ in last]
        growing = [(chunk, index, run) for (chunk, index), run in zip(last, runs, strict=True)]
        while growing:
            pointers = self._context.logits_ptrs(
                [index + len(run.tokens) for _, index, run in growing]
            )
            sampled = self._sample(
                [
                    (chunk.sequence, run, pointer)
                    for (chunk, _, run), pointer in zip(growing, pointers, strict=True)
                ]
            )
            for (_, _, run), token in zip(growing, sampled, strict=True):
                if isinstance(token, SampledToken):
                    run.tokens.append(token)
                else:
                    run.error = token
            growing = [entry for entry in growing if self._is_accepted(entry[0].draft, entry[2])]
        return runs

    def _sample_plain(self, last: list[tuple[ScheduledChunk, int]]) -> list[SampledRun] | None:
        """Sample a step in which every sequence gets one token and only its sampler reads logits.

        None for any other step. In a step of many sequences the general way takes longer than the
        samplers themselves.
        """
        samplers, indexes = [], []
        for chunk, index in last:
            request_id = chunk.sequence.request_id
            if chunk.draft or request_id not in self._plain:
                return None
            samplers.append(self._samplers[request_id])
            indexes.append(index)
        sampled = self._sample_many(samplers, self._context.logits_ptrs(indexes))
        return [
            SampledRun([], token)
            if isinstance(token, LlamaError)
            else SampledRun([SampledToken(token)])
            for token in sampled
        ]

    def _is_accepted(self, draft: tuple[int, ...], run: SampledRun) -> bool:
        """True if the newest sampled token equals the draft's and does not end the answer."""
        n = len(run.tokens)
        if run.error is not None or n > len(draft):
            return False
        token = run.tokens[-1].token
        return token == draft[n - 1] and not self._tokenizer.is_eog(token)

    def _sample(
        self, last: list[tuple[Sequence, SampledRun, int]]
    ) -> list[SampledToken | LlamaError]:
        """Sample the next token of each run from the logits at the given address."""
        known: dict[int, int | LlamaError] = {}
        raw: dict[int, np.ndarray] = {}
        self._masks.compute(sequence.request_id for sequence, _, _ in last)
        for index, (sequence, run, pointer) in enumerate(last):
            must_continue = sequence.must_continue_after(len(run.tokens))
            is_masked = self._masks.has(sequence.request_id)
            if not (must_continue or is_masked or sequence.request.logits_processors):
                continue
            logits = self._context.logits_at(pointer)
            if sequence.request.logprobs is not None:
                raw[index] = logits.copy()
            outcome: int | LlamaError | None = self._process_logits(sequence, run, logits)
            if outcome is None and is_masked:
                outcome = self._masks.apply(
                    sequence.request_id, logits, must_continue=must_continue
                )
            elif must_continue:
                import numpy as np

                logits[list(self._tokenizer.eog_tokens)] = -np.inf
            if outcome is not None:
                known[index] = outcome
        usable = [index for index in range(len(last)) if index not in known]
        tokens = self._sample_many(
            [self._samplers[last[index][0].request_id] for index in usable],
            [last[index][2] for index in usable],
        )
        sampled: list[SampledToken | LlamaError] = []
        found = iter(tokens)
        for index, (sequence, run, pointer) in enumerate(last):
            token = known[index] if index in known else next(found)
            if self._masks.has(sequence.request_id):
                token = self._follow_mask(sequence, run, token, pointer)
            if isinstance(token, LlamaError) or sequence.request.logprobs is None:
                sampled.append(token if isinstance(token, LlamaError) else SampledToken(token))
            else:
                is_raw = index in raw and sequence.request_id not in self._final_probs
                address = raw[index].ctypes.data if is_raw else pointer
                sampled.append(SampledToken(token, self._logprob(sequence, address, token)))
        return sampled

    def _sample_many(self, samplers: list[Sampler], pointers: list[int]) -> list[int | LlamaError]:
        """Sample with as many threads as the decode had, if that takes long enough to pay."""
        n_logits = self._model.n_vocab * sum([sampler.reads_all for sampler in samplers])
        n_threads = self._context.n_threads_batch if n_logits >= _LOGITS_FOR_THREADS else 1
        return sample_many(samplers, pointers, n_threads=n_threads)

    def _follow_mask(
        self, sequence: Sequence, run: SampledRun, token: int | LlamaError, pointer: int
    ) -> int | LlamaError:
        """Advance the mask of a sequence by `token`, sampled from the logits at `pointer`."""
        request_id = sequence.request_id
        if isinstance(token, LlamaError):
            return self._masks.explain(token, self._context.logits_at(pointer))
        error = self._masks.accept(request_id, token)
        if error is None and self._masks.has_become_answer(request_id):
            # From here on the answer may contain the text of a trigger or of a reasoning tag.
            tokens = [*sequence.tokens, *(one.token for one in run.tokens), token]
            sampling = without_triggers(sequence.request.sampling)
            self._samplers[request_id].close()
            self._samplers[request_id] = self._make_sampler(sampling, tokens)
        return token if error is None else error

    def _logprob(self, sequence: Sequence, address: int, token: int) -> TokenLogprob:
        k = sequence.request.logprobs or 0
        final = self._final_probs.get(sequence.request_id)
        if final is not None:
            return _final_logprob(final, self._context.logits_at(address), token, k)
        [logprob] = top_logprobs([address], [token], self._model.n_vocab, k)
        return logprob

    def _process_logits(
        self, sequence: Sequence, run: SampledRun, logits: np.ndarray
    ) -> LlamaError | None:
        """Call the request's logits processors; an exception is returned and ends this request
        only.
        """
        tokens = sequence.tokens
        if run.tokens:
            tokens = tokens + array("i", [sampled.token for sampled in run.tokens])
        try:
            for processor in sequence.request.logits_processors:
                processor(tokens, logits)
        except BaseException as error:  # even SystemExit must not end the engine
            logger.exception("request %s: a logits processor failed", sequence.request_id)
            return LlamaError(f"a logits processor failed: {type(error).__name__}: {error}")
        return None

    def _make_sampler(self, sampling: SamplingParams, tokens: Tokens[int]) -> Sampler:
        """Return a sampler after these tokens."""
        sampler = Sampler(self._model, sampling, n_ctx=self._context.n_ctx_seq)
        for token in _penalised(sampling, tokens):
            sampler.accept(token, is_generated=False)
        return sampler


def _final_logprob(final: FinalProbs, logits: np.ndarray, token: int, k: int) -> TokenLogprob:
    """The token's log-probability after the samplers; it then counts as generated."""
    probabilities = final.top(logits)
    final.accept(token)
    own = dict(probabilities).get(token, 0.0)
    top = tuple((other, math.log(value)) for other, value in probabilities[:k])
    return TokenLogprob(token, math.log(own) if own > 0.0 else -math.inf, top)


def _penalised(sampling: SamplingParams, tokens: Tokens[int]) -> list[int]:
    """Return the tokens that the penalty samplers read, without those of images and audio."""
    last = tokens[len(tokens) - _penalty_window(sampling, len(tokens)) :]
    return [token for token in last if token >= 0]


def _penalty_window(sampling: SamplingParams, n_prompt: int) -> int:
    """Return how many of the prompt's last tokens the penalty samplers read."""
    windows = []
    if sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty:
        windows.append(sampling.repeat_last_n)
    if sampling.dry_multiplier:
        windows.append(sampling.dry_penalty_last_n)
    if -1 in windows:
        return n_prompt
    return min(n_prompt, max(windows, default=0))
