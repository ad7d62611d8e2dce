"""ModelRunner: the only place where the engine decodes and samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.batch import Batch
from llamabind.sampler import Sampler, sample_many
from llamabind.slots import CopyPrefix

if TYPE_CHECKING:
    from llamabind.context import Context
    from llamabind.errors import LlamaError
    from llamabind.model import Model
    from llamabind.request import GenerationRequest
    from llamabind.sampling_params import SamplingParams
    from llamabind.scheduler import StepPlan
    from llamabind.slots import MemoryOp


class ModelRunner:
    """Carries out step plans on a context; only `prepare` may come from any thread."""

    def __init__(self, model: Model, context: Context) -> None:
        self._model = model
        self._context = context
        self._batch = Batch(context.n_batch)
        self._samplers: dict[str, Sampler] = {}

    def prepare(self, request: GenerationRequest) -> None:
        """Make the sampler; parsing a large grammar takes time that the engine thread has not."""
        sampler = Sampler(self._model, request.sampling, n_ctx=self._context.n_ctx_seq)
        n_prompt = len(request.prompt_tokens)
        n_seen = _penalty_window(request.sampling, n_prompt)
        for token in request.prompt_tokens[n_prompt - n_seen :]:
            sampler.accept(token, is_generated=False)
        self._samplers[request.request_id] = sampler

    def release(self, request_id: str) -> None:
        """Free the sampler."""
        sampler = self._samplers.pop(request_id, None)
        if sampler is not None:
            sampler.close()

    def run(self, plan: StepPlan) -> list[int | LlamaError]:
        """Change the memory, decode all chunks in one batch, sample where a token follows."""
        for operation in plan.operations:
            self._apply(operation)
        if not plan.chunks:
            return []
        rows = self._fill_batch(plan)
        self._context.decode(self._batch)
        sampled = [chunk for chunk in plan.chunks if chunk.wants_logits]
        samplers = [self._samplers[chunk.sequence.request_id] for chunk in sampled]
        return sample_many(samplers, [self._context.logits_ptr(row) for row in rows])

    def _fill_batch(self, plan: StepPlan) -> list[int]:
        """Return the batch indices of the tokens whose logits are wanted."""
        batch = self._batch
        batch.clear()
        rows = []
        for chunk in plan.chunks:
            tokens, seq_id = chunk.sequence.tokens, chunk.slot.seq_id
            if chunk.end == chunk.start + 1:
                batch.add(tokens[chunk.start], chunk.start, seq_id, output=chunk.wants_logits)
            else:
                part = tokens[chunk.start : chunk.end]
                batch.extend(part, chunk.start, seq_id, output_last=chunk.wants_logits)
            if chunk.wants_logits:
                rows.append(len(batch) - 1)
        return rows

    def _apply(self, operation: MemoryOp) -> None:
        if isinstance(operation, CopyPrefix):
            self._context.memory_seq_cp(operation.source, operation.target, 0, operation.n)
        elif not self._context.memory_seq_rm(operation.seq_id, operation.n, -1):
            # The pool was told which models can be cut (EngineShape.shares_prefixes).
            raise AssertionError(f"sequence {operation.seq_id} cannot be cut at {operation.n}")

    def close(self) -> None:
        """Free all samplers and the batch."""
        for request_id in list(self._samplers):
            self.release(request_id)
        self._batch.close()


def _penalty_window(sampling: SamplingParams, n_prompt: int) -> int:
    """Return how many of the prompt's last tokens the penalty samplers look at."""
    windows = []
    if sampling.repeat_penalty != 1.0 or sampling.frequency_penalty or sampling.presence_penalty:
        windows.append(sampling.repeat_last_n)
    if sampling.dry_multiplier:
        windows.append(sampling.dry_penalty_last_n)
    return min(n_prompt, max(windows, default=0))
