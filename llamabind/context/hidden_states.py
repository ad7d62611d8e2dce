"""The hidden states that draft heads predict from: read after a decode, and computed in a batch."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from llamabind._capi import llama, shim
from llamabind._capi.shim_text import last_error
from llamabind.context.batch import Batch
from llamabind.context.decode_errors import decode_error
from llamabind.errors import LlamaError
from llamabind.native.log import native_log

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamabind._capi import types
    from llamabind.context.context import Context
    from llamabind.native.model import Model

_MAX_LAYERS = 16


class HiddenBatch(Batch):
    """A Batch in which each token comes with a hidden state of `width` numbers.

    `hidden` has the shape (n_tokens_max, width); the caller fills the row of each added token.
    """

    def __init__(self, n_tokens_max: int, width: int) -> None:
        import numpy as np

        self.hidden = np.zeros((n_tokens_max, width), np.float32)
        super().__init__(n_tokens_max)

    def _make_c_batch(self) -> types.llama_batch:
        batch = super()._make_c_batch()
        batch.embd = self.hidden.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return batch


class HiddenStates:
    """Makes a context keep hidden states, and reads those of the last decode.

    A row has `width` numbers. With `only_outputs` only tokens with an output have one.
    """

    def __init__(self, context: Context, *, only_outputs: bool) -> None:
        """Raises LlamaError."""
        self.width = context.model.n_embd_out
        self._context = context
        if shim.lb_context_set_hidden_states(context.ptr, True, only_outputs):
            raise LlamaError(last_error())

    def rows(self, n_tokens: int) -> NDArray[np.float32]:
        """Return the hidden states of the batch's `n_tokens`, shape (n_tokens, width): a view.

        Valid until the next decode. Raises LlamaError if the model's graph keeps none.
        """
        pointer = shim.lb_context_hidden_states(self._context.ptr)
        return _view(pointer, n_tokens * self.width).reshape(n_tokens, self.width)

    def row(self, index: int) -> NDArray[np.float32]:
        """Return the hidden state of the batch's token `index`, shape (width,): a view."""
        return _view(shim.lb_context_hidden_state(self._context.ptr, index), self.width)


class FusedLayers:
    """Reads the hidden states from which EAGLE-3 predicts, which its encoder makes.

    The encoder fuses what the target's `layers` read, for every token of the target's last decode.
    """

    def __init__(self, target: Context, draft: Context, layers: tuple[int, ...]) -> None:
        """Raises LlamaError for a layer that the target does not have."""
        self._target = target
        self._draft = draft
        self._layers = layers
        for layer in layers:
            if shim.lb_context_set_layer_inputs(target.ptr, layer, True):
                raise LlamaError(last_error())

    def rows(self, n_tokens: int) -> NDArray[np.float32]:
        """Return the hidden states of the batch's `n_tokens`, shape (n_tokens, n_embd): a copy.

        Raises LlamaError.
        """
        import numpy as np

        width = self._target.model.n_embd
        inputs = [
            _view(shim.lb_context_layer_inputs(self._target.ptr, layer), n_tokens * width)
            for layer in self._layers
        ]
        fused = np.concatenate([part.reshape(n_tokens, width) for part in inputs], axis=1)
        step = self._draft.n_ubatch
        return np.concatenate([self._encode(fused[i : i + step]) for i in range(0, n_tokens, step)])

    def _encode(self, fused: NDArray[np.float32]) -> NDArray[np.float32]:
        draft, n = self._draft, len(fused)
        # The encoder has no positions, but llama.cpp checks that they continue a sequence.
        first = draft.memory_seq_pos_max(0) + 1
        from llamabind.context.vector_batch import VectorBatch

        batch = VectorBatch(fused, first, 0, has_outputs=True)
        position = native_log.position()
        code = llama.llama_encode(draft.ptr, batch.c_batch)
        if code != 0:
            raise decode_error(code, native_log.lines_since(position))
        draft.needs_encode = False
        width = draft.model.n_embd
        return _view(shim.lb_context_hidden_states(draft.ptr), n * width).reshape(n, width).copy()


def target_layers(draft: Model) -> tuple[int, ...]:
    """Return the layers of the target whose inputs an EAGLE-3 draft model reads."""
    layers = (ctypes.c_int32 * _MAX_LAYERS)()
    n = shim.lb_model_target_layers(draft.ptr, layers, _MAX_LAYERS)
    return tuple(layers[:n])


def _view(pointer: Any, n: int) -> NDArray[np.float32]:
    import numpy as np

    if not pointer:
        raise LlamaError("the model's graph keeps no hidden states for draft heads")
    address = ctypes.addressof(pointer.contents)
    return np.ctypeslib.as_array((ctypes.c_float * n).from_address(address))
