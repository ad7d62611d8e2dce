"""A runner without llama.cpp that keeps KV as llama.cpp would and notices every misuse of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from llamabind.errors import NoKvSlotError
from llamabind.request import GenerationRequest
from llamabind.slots import CopyAll, CopyPrefix
from llamabind.step import SampledToken, StepPlan, StepResult

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
    return hashlib.blake2b(bytes(tokens), digest_size=1).digest()[0]


class FakeRunner:
    """Computes with `model`; asserts positions, room and batch size as llama.cpp would."""

    def __init__(
        self, n_cells: int, n_batch: int, model: Callable[[list[int]], int] = next_token
    ) -> None:
        self.n_cells = n_cells
        self.n_batch = n_batch
        self.model = model
        self.kv: dict[int, list[list[int]]] = {}
        self.prepared: set[str] = set()
        self.n_computed = 0
        self.batch_sizes: list[int] = []
        self.refuse_next = False

    def prepare(self, request: GenerationRequest) -> None:
        assert request.request_id not in self.prepared
        self.prepared.add(request.request_id)

    def release(self, request_id: str) -> None:
        self.prepared.discard(request_id)

    def run(self, plan: StepPlan) -> StepResult:
        for operation in plan.operations:
            if isinstance(operation, CopyPrefix):
                assert not self.kv.get(operation.target), (
                    "copied into a sequence that holds something"
                )
                assert len(self.kv[operation.source]) >= operation.n
                self.kv[operation.target] = self.kv[operation.source][: operation.n]
            elif isinstance(operation, CopyAll):
                assert not self.kv.get(operation.target), "copied over something"
                self.kv[operation.target] = [list(cell) for cell in self.kv[operation.source]]
            else:
                del self.kv.setdefault(operation.seq_id, [])[operation.n :]
        if self.refuse_next:
            self.refuse_next = False
            raise NoKvSlotError(1, "refused by the test")
        return self._decode(plan)

    def _decode(self, plan: StepPlan) -> StepResult:
        assert plan.n_tokens <= self.n_batch
        result = StepResult()
        for chunk in plan.chunks:
            held = self.kv.setdefault(chunk.slot.seq_id, [])
            assert len(held) == chunk.start, "a gap or an overlap of positions"
            # A cell is a list object of its own: shared cells are the same object.
            held.extend([token] for token in chunk.sequence.tokens[chunk.start : chunk.end])
            if chunk.is_last:
                result.sampled.append(SampledToken(self.model([cell[0] for cell in held])))
        self.n_computed += plan.n_tokens
        self.batch_sizes.append(plan.n_tokens)
        assert self.n_cells_used <= self.n_cells, "more cells than the cache has"
        return result

    @property
    def n_cells_used(self) -> int:
        return len({id(cell) for held in self.kv.values() for cell in held})
