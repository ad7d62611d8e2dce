"""SlotExchange: takes the memory of a sequence id out of an engine, and puts it back."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Final

from llamabind._capi.stamp import LLAMA_CPP_COMMIT
from llamabind.engine.slot_file import SlotContent
from llamabind.errors import InvalidParameterError, SlotBusyError, StateError

if TYPE_CHECKING:
    from llamabind.engine.engine import Engine
    from llamabind.kv_cache.slot import Slot

_SPARE_BYTES: Final = 1 << 20
# What decides the numbers in a KV cell, or how they lie in a state; RopeConfig does too.
_CONTEXT_FACTS: Final = ("type_k", "type_v", "kv_unified")


class SlotExchange:
    """Saves, restores and erases what slots keep, between two steps. Engine thread only."""

    def __init__(self, engine: Engine) -> None:
        """Any thread may make it."""
        self._engine = engine
        self._pool = engine.slots

    @property
    def key(self) -> bytes:
        """What a state is good for: this model, context, adapters, and build of llama.cpp."""
        model, context = self._engine.model, self._engine.context
        rope = context.params.rope
        adapters = zip(self._engine.adapters, self._engine.adapter_scales, strict=True)
        facts = (
            LLAMA_CPP_COMMIT,
            sorted(model.metadata.items()),
            model.size_bytes,
            [
                *((name, getattr(context.params, name)) for name in _CONTEXT_FACTS),
                ("rope_scaling_type", rope.rope_scaling),
                *rope.numbers().items(),
            ],
            context.params.swa_full and model.n_swa > 0,
            context.flash_attn,
            [(adapter.path.name, scale) for adapter, scale in adapters if scale],
        )
        return hashlib.sha256(repr(facts).encode()).digest()

    @property
    def max_file_bytes(self) -> int:
        """No slot file of this model is larger."""
        shape = self._engine.shape
        state = shape.state_size.of(shape.n_ctx, is_partial=False)
        return 2 * state + 4 * shape.n_ctx + _SPARE_BYTES

    def take(self, seq_id: int) -> SlotContent:
        """Return a copy of what a slot keeps.

        Raises InvalidParameterError for one that is not there, keeps nothing, or keeps pictures or
        sounds; SlotBusyError; StateError.
        """
        slot = self._free_slot(seq_id)
        if not slot.tokens:
            raise InvalidParameterError("id_slot", f"slot {seq_id} keeps nothing")
        if min(slot.tokens) < 0:
            # Their pseudo-tokens mean nothing to another process.
            raise InvalidParameterError("id_slot", f"slot {seq_id} keeps pictures or sounds")
        self._engine.flush_memory()
        state = self._engine.context.state_seq_save(seq_id)
        return SlotContent(self.key, array("i", slot.tokens), state)

    def put(self, seq_id: int, content: SlotContent) -> None:
        """Have a slot keep `content` instead of what it keeps, which goes to the host cache.

        Raises as `take` does, and StateError for a state that does not fit.
        """
        slot = self._free_slot(seq_id)
        n_tokens, shape = len(content.tokens), self._engine.shape
        if content.key != self.key or not content.state.is_sequence or content.state.flags:
            raise StateError("the state is not one of this model")
        if not 0 < n_tokens <= shape.n_ctx:
            raise StateError(f"the state has {n_tokens} tokens, a slot takes {shape.n_ctx}")
        if not 0 <= min(content.tokens) <= max(content.tokens) < shape.n_vocab:
            raise StateError("the state has tokens that are not in the vocabulary")
        if not self._pool.adopt(slot, content.tokens):
            raise SlotBusyError(f"{n_tokens} tokens find no room beside what is running")
        self._engine.flush_memory()
        try:
            self._engine.context.state_seq_load(seq_id, content.state)
            self._check_length(seq_id, n_tokens)
        except StateError:
            self._pool.erase(slot)
            self._engine.flush_memory()
            raise

    def erase(self, seq_id: int) -> int:
        """Forget what a slot keeps; return how many tokens that was. Raises as `take` does."""
        slot = self._free_slot(seq_id)
        n_tokens = len(slot.tokens)
        self._pool.erase(slot)
        self._engine.flush_memory()
        return n_tokens

    def _check_length(self, seq_id: int, n_tokens: int) -> None:
        last = self._engine.context.memory_seq_pos_max(seq_id)
        if last != n_tokens - 1:
            raise StateError(f"the state ends at position {last}, it should at {n_tokens - 1}")

    def _free_slot(self, seq_id: int) -> Slot:
        if not 0 <= seq_id < len(self._pool.slots):
            last = len(self._pool.slots) - 1
            raise InvalidParameterError("id_slot", f"slot {seq_id} is not in 0..{last}")
        slot = self._pool.slots[seq_id]
        if slot.owner is not None:
            raise SlotBusyError(f"slot {seq_id} is computing an answer: wait for its end")
        return slot
