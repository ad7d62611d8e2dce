"""HeadDrafter: draft tokens from heads that read the model's own hidden states (MTP, EAGLE-3)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llamabind.context.hidden_states import HiddenBatch, HiddenStates
from llamabind.errors import LlamaError, NoKvSlotError
from llamabind.speculation.head_memory import HeadLayout, HeadMemory
from llamabind.speculation.likeliest_token import likeliest_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.context.compute_threads import ComputeThreads
    from llamabind.context.context import Context
    from llamabind.kv_cache.operations import MemoryOp
    from llamabind.scheduling.sampled import SampledRun
    from llamabind.scheduling.sequence import Sequence
    from llamabind.scheduling.step_plan import ScheduledChunk
    from llamabind.speculation.head_rows import HeadRows

logger = logging.getLogger(__name__)

_N_KEPT = 64
"""Uncomputed tokens of a slot that may wait for the next draft; with 4,096 numbers each: 1 MiB."""

_N_TOGETHER = 8
"""Maximum uncomputed tokens of a slot that share a batch with its draft, all with outputs."""

_WEIGHT = 0.2
"""Weight of the newest call in the average cost of a draft token."""


class StateReader(Protocol):
    """Reads the hidden states of a decode of the model: HiddenStates, or EAGLE-3's encoder."""

    def rows(self, n_tokens: int) -> NDArray[np.float32]:
        """Return a row for each of the batch's `n_tokens`; valid until the next decode."""


@dataclass(slots=True)
class _Reader:
    """A sequence in one call: at most `n_most` tokens are drafted after its newest token."""

    sequence: Sequence
    seq_id: int
    rows: HeadRows
    n_most: int
    index: int = -1
    draft: list[int] = field(default_factory=list)
    is_done: bool = False


class HeadDrafter:
    """A Drafter that also follows the model's steps (StepFollower). Engine thread only.

    `context` computes the heads; it is closed with the drafter, and so is its model if it is not
    the engine's. `target` is the engine's context. Each head predicts the next token from the
    newest token and the hidden state before it. For the next draft token its own hidden state
    replaces the model's, so one head drafts several tokens.

    With HeadLayout.SHARED all tokens of a draft have the position of its first token.
    """

    is_free = False

    def __init__(
        self,
        context: Context,
        target: Context,
        reader: StateReader,
        threads: ComputeThreads,
        *,
        p_min: float = 0.0,
        layout: HeadLayout = HeadLayout.OWN,
    ) -> None:
        """Raises LlamaError."""
        self.context = context
        self.width = context.model.n_embd_out
        self.owns_model = context.model is not target.model
        self.seconds_per_token = 0.0
        self._target = target
        self._reader = reader
        self._states = HiddenStates(context, only_outputs=True)
        self._threads = threads
        self._p_min = p_min
        self._shares_memory = layout is HeadLayout.SHARED
        self._n_vocab = min(target.model.n_vocab, context.model.n_vocab)
        self._batch = HiddenBatch(context.n_batch, self._states.width)
        self._memory = HeadMemory(context, self._batch, self._decode, n_kept=_N_KEPT, layout=layout)
        self._is_broken = False

    def draft(self, wanted: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Return drafts; empty for a sequence whose newest hidden state is not known.

        `wanted` has the maximum number of draft tokens for each sequence.
        """
        started = time.perf_counter()
        readers: list[_Reader] = []
        if wanted and not self._is_broken:
            try:
                readers = self._read(wanted)
                self._draft_all(readers)
            except NoKvSlotError:
                pass  # No cell is free for another token: the draft ends here.
            except LlamaError as error:
                self._fail(error)
            self._remove_drafts(readers)
        drafts = {reader.sequence: reader.draft for reader in readers}
        self._learn_cost(sum(map(len, drafts.values())), started)
        return [drafts.get(sequence, []) for sequence, _ in wanted]

    def forget(self, sequence: Sequence) -> None:
        """Do nothing: a slot keeps the heads' cells as a retained prefix, like the model's."""

    def close(self) -> None:
        """Free the heads' context, threads, and own model if any; a second call does nothing."""
        self._memory.close()
        self._batch.close()
        self.context.close()
        self._threads.close()
        if self.owns_model:
            self.context.model.close()

    def carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        """Do the same operations on the heads' memory; return the bytes of each saved state."""
        if self._is_broken or self._shares_memory:
            return {}
        try:
            return self._memory.carry_out(operations)
        except LlamaError as error:
            self._fail(error)
            return {}

    def follow(
        self, chunks: list[ScheduledChunk], ends: list[int], runs: Iterable[SampledRun]
    ) -> None:
        """Take the hidden states of a step's batch.

        `ends` has the index in the batch after each chunk's last token, where the draft of the
        chunk begins; `runs` has a run for each chunk with `is_last`.
        """
        if self._is_broken or not chunks:
            return
        n_tokens = ends[-1] + len(chunks[-1].draft)
        sampled = iter(runs)
        try:
            hidden = self._reader.rows(n_tokens)
            for chunk, end in zip(chunks, ends, strict=True):
                run = next(sampled) if chunk.is_last else None
                n_accepted = run.n_accepted if run is not None and chunk.draft else 0
                self._take(chunk, hidden[end - (chunk.end - chunk.start) : end + n_accepted])
            if not self._shares_memory:
                for chunk in chunks:
                    self._memory.keep_up(chunk.slot.seq_id)
        except LlamaError as error:
            self._fail(error)

    def _take(self, chunk: ScheduledChunk, hidden: NDArray[np.float32]) -> None:
        rows = self._memory.rows(chunk.slot.seq_id)
        sequence = chunk.sequence
        if sequence.request.media:
            # The heads cannot read vectors in place of tokens.
            rows.restart(chunk.start)
            return
        if rows.end != chunk.start:
            rows.restart(chunk.start)
        tokens = sequence.tokens[chunk.start : chunk.end]
        tokens.extend(chunk.draft[: len(hidden) - len(tokens)])
        if self._target.model.n_vocab > self._n_vocab <= max(tokens):
            rows.restart(chunk.start + len(tokens))  # a token that a smaller vocabulary lacks
            return
        rows.append(tokens, hidden)
        rows.owner = sequence
        if self._shares_memory:
            rows.drop_before(rows.end)

    def _read(self, wanted: list[tuple[Sequence, int]]) -> list[_Reader]:
        """Compute the tokens that do not fit into one batch with the newest token of each sequence.

        All tokens of that batch have outputs: the graphs of some architectures compute hidden
        states for all tokens or only for those with outputs, and llama.cpp reads the first rows.
        """
        readers = []
        n_free = self.context.params.n_outputs_max - len(wanted)
        for sequence, n_most in wanted:
            if sequence.slot is None or sequence.tokens[-1] >= self._n_vocab:
                continue
            seq_id = sequence.slot.seq_id
            rows = self._memory.rows(seq_id)
            if rows.owner is not sequence or rows.end != len(sequence.tokens) - 1:
                continue
            if self._shares_memory:
                # The tokens of a rejected draft are removed from the model's memory only later.
                self._target.memory_seq_rm(seq_id, rows.end, -1)
            else:
                self._memory.settle(seq_id)
                if len(rows.tokens) > min(n_free, _N_TOGETHER):
                    self._memory.catch_up(seq_id)
                n_free -= len(rows.tokens)
            readers.append(_Reader(sequence, seq_id, rows, n_most))
        return readers

    def _draft_all(self, readers: list[_Reader]) -> None:
        """Compute the newest tokens, then draft one token for each sequence in every decode."""
        if not readers:
            return
        batch = self._batch
        batch.clear()
        for reader in readers:
            rows = reader.rows
            self._memory.add(rows, reader.seq_id, len(rows.tokens))
            self._add(reader, reader.sequence.tokens[-1], rows.hidden[-1])
        batch.output_all()
        active = readers
        while active:
            self._decode()
            hidden = [self._states.row(reader.index).copy() for reader in active]
            for reader in active:
                self._take_token(reader, self.context.logits(reader.index)[: self._n_vocab])
            batch.clear()
            for reader, row in zip(active, hidden, strict=True):
                if not reader.is_done:
                    self._add(reader, reader.draft[-1], row)
            active = [reader for reader in active if not reader.is_done]

    def _add(self, reader: _Reader, token: int, hidden: NDArray[np.float32]) -> None:
        position = reader.rows.end + self._memory.shift
        if not self._shares_memory:
            position += len(reader.draft)
        reader.index = self._batch.add(token, position, reader.seq_id, output=True)
        self._batch.hidden[reader.index] = hidden

    def _take_token(self, reader: _Reader, logits: NDArray[np.float32]) -> None:
        token = likeliest_token(logits, self._p_min)
        if token is None:
            reader.is_done = True
            return
        reader.draft.append(token)
        is_end = self._target.model.tokenizer.is_eog(token)
        reader.is_done = is_end or len(reader.draft) >= reader.n_most

    def _remove_drafts(self, readers: Iterable[_Reader]) -> None:
        """Remove the cells of draft tokens, whose hidden states were the heads' own."""
        if self._is_broken or self._shares_memory:
            return
        for reader in readers:
            n_kept = reader.rows.end + 1 + self._memory.shift
            self.context.memory_seq_rm(reader.seq_id, max(n_kept, 0), -1)

    def _decode(self) -> None:
        n_tokens = len(self._batch)
        self._threads.prepare(n_tokens)
        started = time.perf_counter()
        self.context.decode(self._batch)
        self.context.synchronize()
        self._threads.observe(n_tokens, time.perf_counter() - started)

    def _fail(self, error: LlamaError) -> None:
        # Without drafts the answers stay the same, so all requests go on.
        logger.error("the draft heads failed: speculative decoding is off: %s", error)
        self._is_broken = True

    def _learn_cost(self, n_drafted: int, started: float) -> None:
        if n_drafted:
            cost = (time.perf_counter() - started) / n_drafted
            known = self.seconds_per_token
            self.seconds_per_token = cost if known == 0.0 else known + _WEIGHT * (cost - known)
