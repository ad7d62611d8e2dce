"""ModelDrafter: draft tokens from a small model that computes the same sequences."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llamabind.context.batch import Batch
from llamabind.errors import DecodeError
from llamabind.kv_cache.executor import MemoryExecutor
from llamabind.kv_cache.host_cache import HostCache, StateSize
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.speculation.likeliest_token import likeliest_token
from llamabind.speculation.step_cost import StepCost

if TYPE_CHECKING:
    import numpy as np

    from llamabind.context.compute_threads import ComputeThreads
    from llamabind.context.context import Context
    from llamabind.kv_cache.slot import Slot
    from llamabind.scheduling.sequence import Sequence

logger = logging.getLogger(__name__)

_CATCH_UP_SECONDS = 0.05
"""Seconds that computing new tokens in the draft model may add to a step."""

_MIN_CATCH_UP = 64
_WEIGHT = 0.2
"""Weight of the newest call in the average cost of a draft token."""


@dataclass(slots=True)
class _Reader:
    """One sequence in one call: `n_new` of its tokens are computed, then up to `n_most` drafted."""

    sequence: Sequence
    slot: Slot
    n_new: int
    n_most: int
    draft: list[int] = field(default_factory=list)
    is_done: bool = False

    @property
    def position(self) -> int:
        """The position of the last draft token, which is computed next."""
        return len(self.slot.tokens) + self.n_new + len(self.draft) - 1


class ModelDrafter:
    """A Drafter over a model and a context of its own, which it closes. Engine thread only.

    It computes the tokens of all drafted sequences and drafts the likeliest next tokens, with all
    sequences in one batch. Sequences share common prefixes here as in the engine. Draft tokens do
    not stay in its KV cache: accepted ones are computed again together with the next token.
    """

    is_free = False

    def __init__(
        self,
        context: Context,
        threads: ComputeThreads,
        *,
        n_target_vocab: int,
        p_min: float = 0.0,
    ) -> None:
        self.model = context.model
        self.context = context
        self.seconds_per_token = 0.0
        self._threads = threads
        self._p_min = p_min
        self._n_vocab = min(n_target_vocab, context.model.n_vocab)
        self._pool = SlotPool(context.n_seq_max, context.n_ctx, HostCache(0, StateSize()))
        self._memory = MemoryExecutor(context)
        self._slots: dict[Sequence, Slot] = {}
        self._batch = Batch(context.n_batch)
        self._cost = StepCost()
        self._is_broken = False

    def draft(self, wanted: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Return drafts; empty for a sequence whose tokens are not all computed yet.

        `wanted` has the most draft tokens for each sequence.
        """
        if self._is_broken or not wanted:
            return [[] for _ in wanted]
        started = time.perf_counter()
        readers = self._plan(wanted)
        try:
            self._draft_all([reader for reader in readers.values() if reader.n_new > 0])
        except DecodeError:
            # Answers stay the same without drafts, so no request fails.
            logger.exception("the draft model failed: speculative decoding is off")
            self._is_broken = True
            return [[] for _ in wanted]
        self._learn_cost(list(readers.values()), time.perf_counter() - started)
        for reader in readers.values():
            end = len(reader.slot.tokens) + reader.n_new
            self._pool.commit(reader.slot, reader.sequence.tokens[len(reader.slot.tokens) : end])
        return [readers[sequence].draft if sequence in readers else [] for sequence, _ in wanted]

    def forget(self, sequence: Sequence) -> None:
        """Release the slot of an ended sequence; its cells stay as a retained prefix."""
        slot = self._slots.pop(sequence, None)
        if slot is not None:
            self._pool.release(slot)

    def close(self) -> None:
        """Free the context, its threads and the model; a second call does nothing."""
        self._batch.close()
        self.context.close()
        self._threads.close()
        self.model.close()

    def _plan(self, wanted: list[tuple[Sequence, int]]) -> dict[Sequence, _Reader]:
        """Reserve cells, first for sequences with few new tokens; many take several calls."""
        readers: dict[Sequence, _Reader] = {}
        opened = [(sequence, self._slot(sequence), n) for sequence, n in wanted]
        behind = [
            (len(sequence.tokens) - len(slot.tokens), sequence, slot, n)
            for sequence, slot, n in opened
            if slot is not None and self._can_read(sequence, slot)
        ]
        n_left = self._catch_up_limit()
        for n_behind, sequence, slot, n_most in sorted(behind, key=lambda entry: entry[0]):
            n_new = min(n_behind, n_left)
            is_whole = n_new == n_behind
            if n_new == 0 or not self._pool.reserve(slot, n_new + (n_most - 1) * is_whole):
                continue
            n_left -= n_new
            readers[sequence] = _Reader(sequence, slot, n_new, n_most, is_done=not is_whole)
        self._memory.carry_out(self._pool.take_operations())
        return readers

    def _slot(self, sequence: Sequence) -> Slot | None:
        slot = self._slots.get(sequence)
        if slot is None:
            slot = self._pool.open(sequence, self._pool.longest_prefix(sequence.tokens))
            if slot is not None:
                self._slots[sequence] = slot
        return slot

    def _can_read(self, sequence: Sequence, slot: Slot) -> bool:
        """True if all new tokens are in the draft model's vocabulary, which may be smaller."""
        new = sequence.tokens[len(slot.tokens) :]
        return len(new) > 0 and max(new) < self.model.n_vocab

    def _catch_up_limit(self) -> int:
        n_batch = self.context.n_batch
        if self._cost.per_token == 0.0:
            return min(_MIN_CATCH_UP, n_batch)
        n = int((_CATCH_UP_SECONDS - self._cost.base) / self._cost.per_token)
        return min(max(n, _MIN_CATCH_UP), n_batch)

    def _draft_all(self, readers: list[_Reader]) -> None:
        """Compute the new tokens of all readers, then draft one token for each in every decode."""
        import numpy as np

        if not readers:
            return
        batch = self._batch
        batch.clear()
        for reader in readers:
            first = len(reader.slot.tokens)
            tokens = reader.sequence.tokens[first : first + reader.n_new]
            batch.extend(tokens, first, reader.slot.seq_id, output_last=not reader.is_done)
        ends = np.cumsum([reader.n_new for reader in readers]) - 1
        active = [
            (reader, int(end))
            for reader, end in zip(readers, ends, strict=True)
            if not reader.is_done
        ]
        while True:
            self._decode()
            for reader, index in active:
                self._take_token(reader, self.context.logits(index)[: self._n_vocab])
            unfinished = [reader for reader, _ in active if not reader.is_done]
            if not unfinished:
                return
            batch.clear()
            active = [
                (r, batch.add(r.draft[-1], r.position, r.slot.seq_id, output=True))
                for r in unfinished
            ]

    def _take_token(self, reader: _Reader, logits: np.ndarray) -> None:
        token = likeliest_token(logits, self._p_min)
        if token is None:
            reader.is_done = True
            return
        reader.draft.append(token)
        is_end = self.model.tokenizer.is_eog(token)
        reader.is_done = is_end or len(reader.draft) >= reader.n_most

    def _decode(self) -> None:
        n_tokens = len(self._batch)
        self._threads.prepare(n_tokens)
        started = time.perf_counter()
        self.context.decode(self._batch)
        self.context.synchronize()
        seconds = time.perf_counter() - started
        self._threads.observe(n_tokens, seconds)
        self._cost.observe(n_tokens, seconds)

    def _learn_cost(self, readers: list[_Reader], seconds: float) -> None:
        n_drafted = sum(len(reader.draft) for reader in readers)
        n_read = sum(reader.n_new for reader in readers)
        if n_drafted == 0 or n_read >= _MIN_CATCH_UP:
            return  # mostly prompt tokens, which are computed only once
        cost = seconds / n_drafted
        known = self.seconds_per_token
        self.seconds_per_token = cost if known == 0.0 else known + _WEIGHT * (cost - known)
