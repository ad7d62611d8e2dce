"""ModelRunner: decodes and samples the steps of an engine with llama.cpp."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from llamabind.context.batch import Batch
from llamabind.engine.logprobs import top_logprobs
from llamabind.engine.sequence_samplers import SequenceSamplers
from llamabind.errors import InvalidParameterError
from llamabind.kv_cache.executor import MemoryExecutor
from llamabind.scheduling.step_plan import StepResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.context.compute_threads import ComputeThreads
    from llamabind.context.context import Context
    from llamabind.kv_cache.operations import MemoryOp
    from llamabind.kv_cache.slot import Adapters
    from llamabind.media.medium import Medium
    from llamabind.native.lora import LoraAdapter
    from llamabind.native.model import Model
    from llamabind.request import GenerationRequest, TokenLogprob
    from llamabind.scheduling.sampled import SampledRun
    from llamabind.scheduling.step_plan import ScheduledChunk, StepPlan


class StepFollower(Protocol):
    """Computes beside each step of the model and reads its hidden states: HeadDrafter."""

    def carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        """Carry them out in its own memory; return the bytes of each saved state, by id."""

    def follow(
        self, chunks: list[ScheduledChunk], ends: list[int], runs: Iterable[SampledRun]
    ) -> None:
        """Read the outputs of the step's batch; `ends` are as ModelRunner._fill_batch has them."""


class ModelRunner:
    """Carries out step plans in a context. Only `prepare` may be called from any thread.

    `adapters` are the model's LoRA adapters; StepPlan.adapters has the scale of each. `memory`
    holds the states of the host cache.
    """

    def __init__(self, model: Model, context: Context, threads: ComputeThreads) -> None:
        self._model = model
        self._context = context
        self._threads = threads
        self.memory = MemoryExecutor(context)
        self._batch = Batch(context.n_batch)
        self._samplers = SequenceSamplers(model, context)
        self.adapters: tuple[LoraAdapter, ...] = ()
        self.follower: StepFollower | None = None
        self._applied: Adapters = ()

    def prepare(self, request: GenerationRequest) -> None:
        """Make the sampler. Not on the engine thread, which parsing a large grammar would block."""
        for medium in request.media:
            self._check_medium(medium)
        self._samplers.add(request)

    def release(self, request_id: str) -> None:
        """Free the sampler; unknown ids are ignored."""
        self._samplers.release(request_id)

    def first_position(self, seq_id: int) -> int:
        """The first position of a sequence that all layers still have; -1 if it is empty."""
        return self._context.memory_seq_pos_min(seq_id)

    def carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        """Carry out memory operations between two steps; return the bytes of each saved state."""
        if self.follower is None:
            return self.memory.carry_out(operations)
        operations = list(operations)
        followed = self.follower.carry_out(operations)
        return _sum_sizes(self.memory.carry_out(operations), followed)

    def run(self, plan: StepPlan) -> StepResult:
        """Carry out the memory operations, decode all chunks in one batch, and sample.

        Each chunk of media is decoded by itself before the batch.
        """
        result = StepResult(saved=self.carry_out(plan.operations))
        if not plan.chunks:
            return result
        self._apply(plan.adapters)
        chunks = [chunk for chunk in plan.chunks if chunk.medium is None]
        for chunk in plan.chunks:
            if chunk.medium is not None:
                self._decode_medium(chunk, chunk.medium)
        ends = self._fill_batch(chunks)
        if chunks:
            result.is_trial = self._decode()
        result.saved |= self.memory.carry_out(plan.checkpoints)
        for chunk, end in zip(chunks, ends, strict=True):
            if chunk.sequence.wants_prompt_logprobs:
                logprobs = self._prompt_logprobs(chunk, end)
                result.prompt_logprobs[chunk.sequence.request_id] = logprobs
        last = [(chunk, end - 1) for chunk, end in zip(chunks, ends, strict=True) if chunk.is_last]
        result.sampled = self._samplers.sample(last)
        if self.follower is not None:
            self.follower.follow(chunks, ends, result.sampled)
            followed = self.follower.carry_out(plan.checkpoints)
            result.saved = _sum_sizes(result.saved, followed)
        return result

    def _apply(self, scales: Adapters) -> None:
        """Apply the adapters with the scales of the step; () applies none."""
        if scales != self._applied:
            pairs = zip(self.adapters, scales, strict=True) if scales else ()
            self._context.set_lora([(adapter, scale) for adapter, scale in pairs if scale])
            self._applied = scales

    def _decode(self) -> bool:
        """Compute the batch; return True if the number of threads was only tried out."""
        n_tokens = len(self._batch)
        self._threads.prepare(n_tokens)
        is_trial = self._threads.is_trial(n_tokens)
        started = time.perf_counter()
        self._context.decode(self._batch)
        self._context.synchronize()
        self._threads.observe(n_tokens, time.perf_counter() - started)
        return is_trial

    def _decode_medium(self, chunk: ScheduledChunk, medium: Medium) -> None:
        from llamabind.context.vector_batch import VectorBatch

        part = medium.embeddings[chunk.start - medium.start : chunk.end - medium.start]
        self._threads.prepare(len(part))
        first = chunk.sequence.position(medium.start)
        if self._model.uses_mrope:
            positions = medium.positions(first, chunk.start, chunk.end)
            batch = VectorBatch(part, positions, chunk.slot.seq_id)
        else:
            batch = VectorBatch(part, first + chunk.start - medium.start, chunk.slot.seq_id)
        self._context.decode_vectors(batch, is_causal=medium.is_causal)

    def _check_medium(self, medium: Medium) -> None:
        n_tokens, width = medium.embeddings.shape
        if medium.grid is not None and not self._model.uses_mrope:
            raise InvalidParameterError(
                "media", "images with rows and columns need a model with M-RoPE"
            )
        if width != self._model.n_embd_inp:
            raise InvalidParameterError(
                "media", f"vectors have {width} numbers, the model takes {self._model.n_embd_inp}"
            )
        if not medium.is_causal and n_tokens > self._context.n_ubatch:
            # llama.cpp aborts if non-causal media do not fit one ubatch.
            raise InvalidParameterError(
                "media",
                f"an image of {n_tokens} tokens does not fit n_ubatch of {self._context.n_ubatch}; "
                f"load the model with n_ubatch of at least {n_tokens}",
            )

    def _fill_batch(self, chunks: list[ScheduledChunk]) -> list[int]:
        """Return for each chunk the batch index after its last token, where its draft begins."""
        batch = self._batch
        batch.clear()
        if len(chunks) > 1 and all(map(_is_next_token, chunks)):
            self._fill_decoding(chunks)
            return list(range(1, len(chunks) + 1))
        ends = []
        for chunk in chunks:
            tokens, seq_id = chunk.sequence.tokens, chunk.slot.seq_id
            position = chunk.sequence.position(chunk.start)
            if chunk.end == chunk.start + 1:
                wanted = chunk.is_last or chunk.sequence.wants_prompt_logprobs
                batch.add(tokens[chunk.start], position, seq_id, output=wanted)
            else:
                part = tokens[chunk.start : chunk.end]
                first = batch.extend(part, position, seq_id, output_last=chunk.is_last)
                if chunk.sequence.wants_prompt_logprobs:
                    batch.output_all(first)
            ends.append(len(batch))
            if chunk.draft:
                draft_position = position + chunk.end - chunk.start
                first = batch.extend(chunk.draft, draft_position, seq_id)
                batch.output_all(first)
        return ends

    def _fill_decoding(self, chunks: list[ScheduledChunk]) -> None:
        """Fill the batch with the newest token of each sequence."""
        tokens, positions, seq_ids = [], [], []
        for chunk in chunks:
            sequence, start = chunk.sequence, chunk.start
            tokens.append(sequence.tokens[start])
            positions.append(sequence.position(start))
            seq_ids.append(chunk.slot.seq_id)
        self._batch.add_each(tokens, positions, seq_ids)

    def _prompt_logprobs(self, chunk: ScheduledChunk, end: int) -> list[TokenLogprob]:
        """Return the log-probabilities of the prompt tokens after each token of the chunk."""
        sequence = chunk.sequence
        first = end - (chunk.end - chunk.start)
        followers = sequence.tokens[chunk.start + 1 : min(chunk.end + 1, sequence.n_prompt)]
        addresses = self._context.logits_ptrs(range(first, first + len(followers)))
        k = sequence.request.prompt_logprobs or 0
        return top_logprobs(addresses, followers, self._model.n_vocab, k)

    def close(self) -> None:
        """Free all samplers, saved states and the batch."""
        self._samplers.close()
        self.memory.close()
        self._batch.close()


def _sum_sizes(saved: dict[int, int], followed: dict[int, int]) -> dict[int, int]:
    """Return the bytes of each saved state together with those that the follower saved for it."""
    return {state: n_bytes + followed.get(state, 0) for state, n_bytes in saved.items()}


def _is_next_token(chunk: ScheduledChunk) -> bool:
    """True for a single token after which the next one is sampled, without a draft."""
    end = chunk.end
    return end - chunk.start == 1 and end == len(chunk.sequence.tokens) and not chunk.draft
