"""SlotExchange: copies the KV state of a slot out of an engine, and puts one back."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Final

from llamabind._capi.stamp import LLAMA_CPP_COMMIT
from llamabind.engine.slot_file import SlotContent, SlotHead
from llamabind.errors import InvalidParameterError, SlotBusyError, StateError
from llamabind.media.known_media import with_media
from llamabind.media.positions import newest_position
from llamabind.native.remote_devices import has_remote_devices

if TYPE_CHECKING:
    from llamabind.engine.engine import Engine
    from llamabind.kv_cache.slot import Adapters, Slot

_SPARE_BYTES: Final = 1 << 20
# The settings, beside RopeConfig, that change the values in a KV cell or the layout of a state.
_CONTEXT_FACTS: Final = ("type_k", "type_v", "kv_unified")


class SlotExchange:
    """Saves, restores and erases retained slots between two steps. Engine thread only."""

    def __init__(self, engine: Engine, projector: tuple[str, int] | None = None) -> None:
        """May be called on any thread. `projector` is the name and size in bytes of the file that
        encodes the engine's images and audio.
        """
        self._projector = projector
        self._engine = engine
        self._pool = engine.slots

    @property
    def key(self) -> bytes:
        """The key of states that a request with the engine's own adapter scales can use."""
        scales = self._engine.adapter_scales
        return self.key_of(scales if any(scales) else ())

    def key_of(self, scales: Adapters) -> bytes:
        """A hash of what a state depends on: model, context, adapters and llama.cpp build; 32
        bytes.
        """
        model, context = self._engine.model, self._engine.context
        rope = context.params.rope
        adapters = zip(self._engine.adapters, scales, strict=True) if scales else ()
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
            *self._long_context(),
        )
        return hashlib.sha256(repr(facts).encode()).digest()

    def _long_context(self) -> tuple[str, ...]:
        """What the size of the context says about positions: LongRoPE has other factors beyond the
        original context (llama_model::get_rope_factors).
        """
        model, context = self._engine.model, self._engine.context
        name = f"{model.architecture}.rope.scaling.original_context_length"
        original = context.params.rope.yarn_orig_ctx or int(model.metadata.get(name, 0))
        return ("long context",) if 0 < original < context.n_ctx_seq else ()

    @property
    def max_file_bytes(self) -> int:
        """An upper bound for the size of a slot file of this model."""
        shape = self._engine.shape
        state = shape.state_size.of(shape.n_ctx, is_partial=False)
        return 2 * state + 4 * shape.n_ctx + _SPARE_BYTES

    def take(self, seq_id: int) -> SlotContent:
        """Return a copy of the tokens and the KV state of a slot.

        Raises InvalidParameterError for a slot that does not exist or is empty; SlotBusyError;
        StateError, also if the slot holds images or audio that KnownMedia has forgotten.
        """
        _require_local()
        slot = self._free_slot(seq_id)
        if not slot.tokens:
            raise InvalidParameterError("id_slot", f"slot {seq_id} is empty")
        media = self._engine.known_media.find(slot.tokens)
        self._engine.flush_memory()
        state = self._engine.context.state_seq_save(seq_id)
        tokens = array("i", slot.tokens)
        return SlotContent(self.key_of(slot.adapters), tokens, state, media, self._projector)

    def put(self, seq_id: int, content: SlotContent) -> None:
        """Put `content` into a slot; what the slot holds is evicted to the host cache.

        Raises what `take` raises, and StateError for a state that does not match the engine.
        """
        _require_local()
        slot = self._free_slot(seq_id)
        n_tokens, shape = len(content.tokens), self._engine.shape
        if content.key != self.key or not content.state.is_sequence or content.state.flags:
            raise StateError("the state was saved by another model or with other settings")
        if not 0 < n_tokens <= shape.n_ctx:
            raise StateError(f"the state has {n_tokens} tokens, a slot holds 1 to {shape.n_ctx}")
        tokens = self.tokens_of(content)
        scales = self._engine.adapter_scales
        if not self._pool.adopt(slot, tokens, scales if any(scales) else ()):
            raise SlotBusyError(
                f"{n_tokens} tokens do not fit beside the running requests; try again later"
            )
        self._engine.flush_memory()
        try:
            self._engine.context.state_seq_load(seq_id, content.state)
            self._check_length(seq_id, newest_position(tokens))
        except StateError:
            self._pool.erase(slot)
            self._engine.flush_memory()
            raise

    def erase(self, seq_id: int) -> int:
        """Empty a slot and return how many tokens it held. Raises what `take` raises."""
        slot = self._free_slot(seq_id)
        n_tokens = len(slot.tokens)
        self._pool.erase(slot)
        self._engine.flush_memory()
        return n_tokens

    def tokens_of(self, content: SlotContent | SlotHead) -> array[int]:
        """Return the tokens as this process writes them, with its own pseudo-tokens for media."""
        texts = content.tokens[:]
        for medium in reversed(content.media):
            del texts[medium.start : medium.end]
        if texts and not 0 <= min(texts) <= max(texts) < self._engine.shape.n_vocab:
            raise StateError("the state has token ids that are not in the vocabulary")
        if content.media and content.projector != self._projector:
            raise StateError("the images or audio of the state were encoded by another projector")
        return with_media(content.tokens, content.media)

    def _check_length(self, seq_id: int, expected: int) -> None:
        last = self._engine.context.memory_seq_pos_max(seq_id)
        if last != expected:
            raise StateError(f"the state ends at position {last}, expected {expected}")

    def _free_slot(self, seq_id: int) -> Slot:
        if not 0 <= seq_id < len(self._pool.slots):
            last = len(self._pool.slots) - 1
            raise InvalidParameterError(
                "id_slot", f"slot {seq_id} does not exist: ids are 0 to {last}"
            )
        slot = self._pool.slots[seq_id]
        if slot.owner is not None:
            raise SlotBusyError(f"slot {seq_id} is in use by a running request; try again later")
        return slot


def _require_local() -> None:
    """Raise StateError if a state would cross the network: all sequences would wait for it, and
    ggml aborts the process if that fails.
    """
    if has_remote_devices():
        raise StateError("slots cannot be saved or restored with devices of RPC servers (--rpc)")
