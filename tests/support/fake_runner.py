"""A runner without llama.cpp that tracks KV cells as llama.cpp does and asserts correct use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from llamabind.errors import NoKvSlotError
from llamabind.kv_cache.operations import (
    CopyAll,
    CopyPrefix,
    DropState,
    MemoryOp,
    RestoreState,
    SaveState,
    Truncate,
)
from llamabind.request import GenerationRequest, TokenLogprob
from llamabind.scheduling.sampled import SampledRun, SampledToken
from llamabind.scheduling.step_plan import ScheduledChunk, StepPlan, StepResult

N_VOCAB = 256
EOG = 0


class FakeVocabulary:
    """Token ids are bytes; 0 ends a generation."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return bytes([token])

    def is_eog(self, token: int) -> bool:
        return token == EOG


def next_token(tokens: list[int]) -> int:
    """A deterministic model: the next token depends on every token before it."""
    # Pseudo-tokens of media are negative.
    return hashlib.blake2b(bytes(token % 256 for token in tokens), digest_size=1).digest()[0]


class FakeRunner:
    """Computes with `model`; asserts positions, free cells and batch size as llama.cpp does.

    Unless `is_cuttable` each sequence also has a recurrent state: it has read some tokens and
    cannot forget the last ones. A saved state takes a byte for each token.
    """

    def __init__(
        self,
        n_cells: int,
        n_batch: int,
        model: Callable[[list[int]], int] = next_token,
        *,
        is_cuttable: bool = True,
    ) -> None:
        self.n_cells = n_cells
        self.n_batch = n_batch
        self.model = model
        self.is_cuttable = is_cuttable
        # Of each cell its token, its position and the adapters that it was computed with.
        self.kv: dict[int, list[list[Any]]] = {}
        self.read: dict[int, list[int]] = {}
        self.states: dict[int, tuple[SaveState, list[list[Any]], list[int]]] = {}
        self.prepared: set[str] = set()
        self.n_computed = 0
        self.batch_sizes: list[int] = []
        self.refuse_next = False
        self.refuse_saves = False
        self._pending_copies: list[CopyAll] = []

    def prepare(self, request: GenerationRequest) -> None:
        assert request.request_id not in self.prepared
        self.prepared.add(request.request_id)

    def release(self, request_id: str) -> None:
        self.prepared.discard(request_id)

    def run(self, plan: StepPlan) -> StepResult:
        saved = self._carry_out(plan.operations)
        self._copy_streams()
        if self.refuse_next:
            self.refuse_next = False
            self._decode_media(plan)
            raise NoKvSlotError(1, "refused by the test")
        result = self._decode(plan)
        result.saved = saved | self._carry_out(plan.checkpoints)
        return result

    def _carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        saved: dict[int, int] = {}
        for operation in operations:
            match operation:
                case CopyPrefix(source, target, n):
                    assert not self.kv.get(target), "copied into a sequence that holds something"
                    n_cells = self._n_cells_before(source, n)
                    self.kv[target] = self.kv[source][:n_cells]
                    read = self.read[source]
                    self.read[target] = read[:n_cells] if self.is_cuttable else read
                case CopyAll():
                    assert not self.kv.get(operation.target), "copied over something"
                    # Only the lengths are known before the next decode.
                    cells = self.kv[operation.source]
                    self.kv[operation.target] = [[-1, *rest] for _, *rest in cells]
                    self._pending_copies.append(operation)
                case Truncate(seq_id, n):
                    self._truncate(seq_id, n)
                case SaveState(seq_id, state_id):
                    if not self.refuse_saves:
                        saved[state_id] = self._save(operation)
                case RestoreState(seq_id, state_id):
                    self._restore(seq_id, state_id)
                case DropState(state_id):
                    self.states.pop(state_id, None)
        return saved

    def _n_cells_before(self, seq_id: int, position: int) -> int:
        held = self.kv.setdefault(seq_id, [])
        return sum(cell[1] < position for cell in held)

    def _truncate(self, seq_id: int, position: int) -> None:
        n = self._n_cells_before(seq_id, position)
        del self.kv.setdefault(seq_id, [])[n:]
        read = self.read.setdefault(seq_id, [])
        if n == 0:
            self.read[seq_id] = []
        elif self.is_cuttable:
            self.read[seq_id] = read[:n]
        else:
            assert len(read) <= n, "a recurrent state cannot be cut"

    def _save(self, save: SaveState) -> int:
        assert not self._pending_copies, "saved before a copy was carried out"
        assert save.state_id not in self.states
        read = self.read[save.seq_id]
        cells = [] if save.is_partial else [list(cell) for cell in self.kv[save.seq_id]]
        self.states[save.state_id] = save, cells, read
        return len(read)

    def _restore(self, seq_id: int, state_id: int) -> None:
        assert not self._pending_copies, "restored before a copy was carried out"
        save, cells, self.read[seq_id] = self.states[state_id]
        if not save.is_partial:
            assert not self.kv.get(seq_id), "restored over something"
            self.kv[seq_id] = [list(cell) for cell in cells]
        assert self.n_cells_used <= self.n_cells, "restored more cells than the cache has"

    def _copy_streams(self) -> None:
        for copy in self._pending_copies:
            n = len(self.kv[copy.target])
            self.kv[copy.target] = [list(cell) for cell in self.kv[copy.source][:n]]
            self.read[copy.target] = [cell[0] for cell in self.kv[copy.target]]
        self._pending_copies.clear()

    def _decode(self, plan: StepPlan) -> StepResult:
        n_text = sum(chunk.n_tokens for chunk in plan.chunks if chunk.medium is None)
        assert n_text <= self.n_batch
        result = StepResult()
        for chunk in plan.chunks:
            seq_id = chunk.slot.seq_id
            held = self.kv.setdefault(seq_id, [])
            assert len(held) == chunk.start, "a gap or an overlap of positions"
            _check_media(chunk)
            # A cell is a list object of its own: shared cells are the same object.
            held.extend(_cells(chunk, held))
            read = [*self.read.get(seq_id, []), *chunk.sequence.tokens[chunk.start : chunk.end]]
            assert read == [cell[0] for cell in held], "the state is that of other tokens"
            assert plan.adapters == chunk.sequence.adapters, "a step with other adapters"
            assert {cell[2] for cell in held} == {plan.adapters}, "KV of other adapters"
            assert chunk.is_last or not chunk.draft, "a draft behind an unfinished prompt"
            for token in chunk.draft:
                held.append([token, held[-1][1] + 1, plan.adapters])
            self.read[seq_id] = [*read, *chunk.draft]
            if chunk.sequence.wants_prompt_logprobs:
                result.prompt_logprobs[chunk.sequence.request_id] = _prompt_logprobs(chunk)
            if chunk.is_last:
                result.sampled.append(self._sample(chunk, read))
        self.n_computed += plan.n_tokens
        self.batch_sizes.append(plan.n_tokens)
        assert self.n_cells_used <= self.n_cells, "more cells than the cache has"
        return result

    def _decode_media(self, plan: StepPlan) -> None:
        """Compute the media as llama.cpp does before it finds too few cells for the tokens."""
        if all(chunk.medium is not None for chunk in plan.chunks):
            return
        for chunk in plan.chunks:
            if chunk.medium is not None:
                places = chunk.sequence.tokens[chunk.start : chunk.end]
                held = self.kv.setdefault(chunk.slot.seq_id, [])
                held.extend(_cells(chunk, held))
                self.read.setdefault(chunk.slot.seq_id, []).extend(places)

    def _sample(self, chunk: ScheduledChunk, tokens: list[int]) -> SampledRun:
        run = SampledRun([SampledToken(self.model(tokens))])
        for token in chunk.draft:
            newest = run.tokens[-1].token
            if token != newest or newest == EOG:
                break
            tokens.append(token)
            run.tokens.append(SampledToken(self.model(tokens)))
        return run

    @property
    def n_cells_used(self) -> int:
        return len({id(cell) for held in self.kv.values() for cell in held})


def _cells(chunk: ScheduledChunk, held: list[list[Any]]) -> list[list[Any]]:
    """What a chunk adds to `held`; llama.cpp refuses other positions."""
    tokens, sequence = chunk.sequence.tokens[chunk.start : chunk.end], chunk.sequence
    if chunk.medium is not None and chunk.medium.grid is not None:
        first = sequence.position(chunk.medium.start)
        positions = chunk.medium.positions(first, chunk.start, chunk.end)[0].tolist()
        assert not held or positions[0] >= held[-1][1], "positions that go back"
    else:
        first = sequence.position(chunk.start if chunk.medium is None else chunk.medium.start)
        if chunk.medium is not None:
            first += chunk.start - chunk.medium.start
        positions = range(first, first + len(tokens))
        assert not held or first > held[-1][1], "positions that go back"
    adapters = [sequence.adapters] * len(tokens)
    return [list(cell) for cell in zip(tokens, positions, adapters, strict=True)]


def _prompt_logprobs(chunk: ScheduledChunk) -> list[TokenLogprob]:
    """The log-probabilities of the prompt tokens that follow those of the chunk."""
    sequence = chunk.sequence
    following = sequence.tokens[chunk.start + 1 : min(chunk.end + 1, sequence.n_prompt)]
    return [TokenLogprob(token, -1.0) for token in following]


def _check_media(chunk: ScheduledChunk) -> None:
    """A decode computes text alone, or vectors of one medium, all of it if it is not causal."""
    places = chunk.sequence.tokens[chunk.start : chunk.end]
    medium = chunk.medium
    if medium is None:
        assert min(places) >= 0, "a medium was computed as text"
        return
    assert medium.start <= chunk.start < chunk.end <= medium.end, "text was computed as a medium"
    assert medium.is_causal or len(places) == len(medium.embeddings), "not all of it at once"
    assert not chunk.draft
