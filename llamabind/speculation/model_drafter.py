"""Guesses from a small model that reads along."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llamabind.context.batch import Batch
from llamabind.errors import DecodeError
from llamabind.kv_cache.executor import MemoryExecutor
from llamabind.kv_cache.host_cache import HostCache, StateSize
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.speculation.step_cost import StepCost

if TYPE_CHECKING:
    from llamabind.context.compute_threads import ComputeThreads
    from llamabind.context.context import Context
    from llamabind.kv_cache.slot import Slot
    from llamabind.scheduling.sequence import Sequence

logger = logging.getLogger(__name__)

_CATCH_UP_SECONDS = 0.05
"""What reading a long new text may add to a step: other streams wait for their next token."""

_MIN_CATCH_UP = 64
_WEIGHT = 0.2
"""Of the newest call in the average price of a guess."""


@dataclass(slots=True)
class _Reader:
    """One sequence in one call: `n_new` of its tokens are read, then up to `n_wished` guessed."""

    sequence: Sequence
    slot: Slot
    n_new: int
    n_wished: int
    draft: list[int] = field(default_factory=list)
    is_done: bool = False

    @property
    def place(self) -> int:
        """The position of the next guess that is read."""
        return len(self.slot.tokens) + self.n_new + len(self.draft) - 1


class ModelDrafter:
    """A Drafter over a model and a context of its own, which it closes. Engine thread only.

    It reads what the requests say, those that share a prefix share it here too, and guesses the
    likeliest tokens, all sequences in one batch. Guesses are never kept in its memory: what proves
    right is read again with the next token, in the same decode.
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

    def draft(self, wishes: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Guess what follows each sequence; nothing for one whose text is not read yet."""
        if self._is_broken or not wishes:
            return [[] for _ in wishes]
        started = time.perf_counter()
        readers = self._plan(wishes)
        try:
            self._guess([reader for reader in readers.values() if reader.n_new > 0])
        except DecodeError:
            # The answers do not depend on it.
            logger.exception("the draft model failed: speculative decoding is off")
            self._is_broken = True
            return [[] for _ in wishes]
        self._learn_price(list(readers.values()), time.perf_counter() - started)
        for reader in readers.values():
            end = len(reader.slot.tokens) + reader.n_new
            self._pool.commit(reader.slot, reader.sequence.tokens[len(reader.slot.tokens) : end])
        return [readers[sequence].draft if sequence in readers else [] for sequence, _ in wishes]

    def forget(self, sequence: Sequence) -> None:
        """Keep what was read of an ended sequence only for others that begin like it."""
        slot = self._slots.pop(sequence, None)
        if slot is not None:
            self._pool.release(slot)

    def close(self) -> None:
        """Free the context, its threads and the model; a second call does nothing."""
        self._batch.close()
        self.context.close()
        self._threads.close()
        self.model.close()

    def _plan(self, wishes: list[tuple[Sequence, int]]) -> dict[Sequence, _Reader]:
        """Reserve cells; the least behind come first, long new texts are read in pieces."""
        readers: dict[Sequence, _Reader] = {}
        opened = [(sequence, self._slot(sequence), n) for sequence, n in wishes]
        behind = [
            (len(sequence.tokens) - len(slot.tokens), sequence, slot, n)
            for sequence, slot, n in opened
            if slot is not None and self._can_read(sequence, slot)
        ]
        room = self._catch_up_limit()
        for n_behind, sequence, slot, n_wished in sorted(behind, key=lambda entry: entry[0]):
            n_new = min(n_behind, room)
            is_whole = n_new == n_behind
            if n_new == 0 or not self._pool.reserve(slot, n_new + (n_wished - 1) * is_whole):
                continue
            room -= n_new
            readers[sequence] = _Reader(sequence, slot, n_new, n_wished, is_done=not is_whole)
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
        """Tell whether all new tokens are in this model's vocabulary, which may be smaller."""
        new = sequence.tokens[len(slot.tokens) :]
        return len(new) > 0 and max(new) < self.model.n_vocab

    def _catch_up_limit(self) -> int:
        n_batch = self.context.n_batch
        if self._cost.per_token == 0.0:
            return min(_MIN_CATCH_UP, n_batch)
        n = int((_CATCH_UP_SECONDS - self._cost.base) / self._cost.per_token)
        return min(max(n, _MIN_CATCH_UP), n_batch)

    def _guess(self, readers: list[_Reader]) -> None:
        """Read the new tokens of all, then guess by guess for whoever still wants one."""
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
                self._take_guess(reader, self.context.logits(index)[: self._n_vocab])
            going_on = [reader for reader, _ in active if not reader.is_done]
            if not going_on:
                return
            batch.clear()
            active = [
                (r, batch.add(r.draft[-1], r.place, r.slot.seq_id, output=True)) for r in going_on
            ]

    def _take_guess(self, reader: _Reader, logits: np.ndarray) -> None:
        token = int(logits.argmax())
        if self._p_min > 0.0:
            probability = 1.0 / float(np.exp(logits - logits[token]).sum())
            if probability < self._p_min:
                reader.is_done = True
                return
        reader.draft.append(token)
        is_end = self.model.tokenizer.is_eog(token)
        reader.is_done = is_end or len(reader.draft) >= reader.n_wished

    def _decode(self) -> None:
        n_tokens = len(self._batch)
        self._threads.prepare(n_tokens)
        started = time.perf_counter()
        self.context.decode(self._batch)
        self.context.synchronize()
        seconds = time.perf_counter() - started
        self._threads.observe(n_tokens, seconds)
        self._cost.observe(n_tokens, seconds)

    def _learn_price(self, readers: list[_Reader], seconds: float) -> None:
        n_guessed = sum(len(reader.draft) for reader in readers)
        n_read = sum(reader.n_new for reader in readers)
        if n_guessed == 0 or n_read >= _MIN_CATCH_UP:
            return  # mostly reading, which is done once
        price = seconds / n_guessed
        known = self.seconds_per_token
        self.seconds_per_token = price if known == 0.0 else known + _WEIGHT * (price - known)
