"""Context: owns a llama_context; decodes batches, returns logits and embeddings."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from llamabind._capi import llama, shim
from llamabind.checks import check_float, check_int
from llamabind.context.creation import create_context
from llamabind.context.decode_errors import decode_error, too_long
from llamabind.context.memory import ContextMemory
from llamabind.context.params import POOLING_TYPES, ContextParams
from llamabind.errors import (
    AdapterError,
    InvalidBatchError,
    InvalidParameterError,
)
from llamabind.native.log import native_log
from llamabind.system.cpus import MAX_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from llamabind._capi.types import ContextHandle
    from llamabind.context.batch import Batch
    from llamabind.context.vector_batch import VectorBatch
    from llamabind.native.lora import LoraAdapter
    from llamabind.native.model import Model


class Context(ContextMemory):
    """A context of a loaded model (llama_context of llama.h). Used by one thread at a time.

    For a model loaded with `no_alloc` it only has sizes, for MemoryReport, and cannot decode.
    Arguments on which native code would abort are checked first and raise an exception. `n_batch`
    is the most tokens that one decode accepts.
    """

    def __init__(
        self,
        model: Model,
        params: ContextParams | None = None,
        other: Context | None = None,
    ) -> None:
        """Allocate the context. Raises ContextCreateError, for example for lack of memory.

        `other` is the context of the model that a draft model reads; this one is closed before it.
        """
        self.params = params or ContextParams()
        self.model = model
        handle, self.flash_attn = create_context(
            model, self.params, None if other is None else other.ptr
        )
        super().__init__(handle, model)
        if other is not None:
            other.adopt(self)
        self.n_ctx = llama.llama_n_ctx(self.ptr)
        self.n_ctx_seq = llama.llama_n_ctx_seq(self.ptr)
        self.n_seq_max = llama.llama_n_seq_max(self.ptr)
        self.n_ubatch = llama.llama_n_ubatch(self.ptr)
        self.n_rs_seq = llama.llama_n_rs_seq(self.ptr)
        self.is_causal = llama.llama_get_causal_attn(self.ptr)
        # Without causal attention a batch must fit one ubatch; a larger one makes llama.cpp abort.
        is_split = self.is_causal and self.has_memory
        self.n_batch = llama.llama_n_batch(self.ptr) if is_split else self.n_ubatch
        self.pooling_type = POOLING_TYPES[llama.llama_pooling_type(self.ptr)]
        self._is_split = not self.params.kv_unified and self.n_seq_max > 1
        self._copies_only_whole = model.architecture == "deepseek4" or (
            self._is_split and not model.is_recurrent
        )
        self.copies_prefixes = not self._copies_only_whole and not model.is_recurrent
        self._n_vocab = model.n_vocab
        self._logits_type = ctypes.c_float * self._n_vocab
        self.needs_encode = self.has_memory and model.has_encoder
        self._outputs: bytes | None = None
        self._adapters: dict[LoraAdapter, float] = {}
        self._n_positions = model.n_positions

    def decode(self, batch: Batch) -> None:
        """Compute a batch and add it to the memory (KV cache or recurrent state).

        Outputs stay readable until the next decode or encode. The positions of a sequence must
        continue from memory_seq_pos_max(). In a context for embeddings every token gets an output.
        Raises a DecodeError by llama_decode's return code (llama.h): NoKvSlotError and
        InvalidBatchError leave the memory unchanged; after DecodeAbortedError and DecodeFailedError
        it may have some of the tokens: check memory_seq_pos_max().
        """
        self._check_batch(batch)
        if self.needs_encode:
            raise InvalidBatchError(-1, "an encoder-decoder model needs encode() before decode()")
        self._outputs = None
        position = native_log.position()
        code = llama.llama_decode(self.ptr, batch.c_batch)
        if code in (0, 1):
            self._has_pending_update = False
        if code != 0:
            raise decode_error(code, native_log.lines_since(position))
        self._outputs = batch.output_flags

    def decode_vectors(self, batch: VectorBatch, *, is_causal: bool = True) -> None:
        """Compute vectors in place of tokens, such as an image's, without outputs.

        Unless `is_causal` they attend to each other in both directions and must fit one n_ubatch. A
        model with M-RoPE needs 4 positions per vector, others 1. Raises the errors of decode().
        """
        self._check_vectors(batch, is_causal=is_causal)
        self._outputs = None
        position = native_log.position()
        if not is_causal:
            llama.llama_set_causal_attn(self.ptr, False)
        try:
            code = llama.llama_decode(self.ptr, batch.c_batch)
        finally:
            if not is_causal:
                llama.llama_set_causal_attn(self.ptr, True)
        if code in (0, 1):
            self._has_pending_update = False
        if code != 0:
            raise decode_error(code, native_log.lines_since(position))

    def encode(self, batch: Batch) -> None:
        """Compute a batch with the encoder, for embeddings or before decode().

        Every token gets an output. Raises the errors of decode().
        """
        if self.has_memory and not self.model.has_encoder:
            raise InvalidBatchError(-1, "this model has no encoder: use decode()")
        self._check_batch(batch)
        if len(batch) > self.n_ubatch:
            raise too_long(len(batch), self.n_ubatch)
        batch.output_all()
        self._outputs = None
        position = native_log.position()
        code = llama.llama_encode(self.ptr, batch.c_batch)
        if code != 0:
            raise decode_error(code, native_log.lines_since(position))
        self._outputs = batch.output_flags
        self.needs_encode = False

    def logits_ptr(self, index: int) -> int:
        """Return the address of n_vocab floats: the logits of the batch's token `index`.

        Valid until the next decode or encode. -1 is the last output. Raises InvalidParameterError
        if that token has no output.
        """
        self._check_output(index)
        pointer = llama.llama_get_logits_ith(self.ptr, index)
        if _is_null(pointer):
            raise InvalidParameterError("index", f"token {index} of the batch has no logits")
        return ctypes.addressof(pointer.contents)

    def logits_ptrs(self, indexes: Sequence[int]) -> list[int]:
        """Return logits_ptr() of each of the batch's tokens `indexes`, with one native call.

        The logits are contiguous in the batch's order (llama_get_logits of llama.h). -1 is not
        accepted.
        """
        outputs = self._outputs
        if len(indexes) == 1 or outputs is None:
            return [self.logits_ptr(index) for index in indexes]
        for index in indexes:
            if not (0 <= index < len(outputs) and outputs[index] == 1):
                self._check_output(index)
        pointer = llama.llama_get_logits(self.ptr)
        if _is_null(pointer):
            raise InvalidParameterError("index", "the batch has no logits")
        first = ctypes.addressof(pointer.contents)
        n_bytes = self._n_vocab * ctypes.sizeof(ctypes.c_float)
        if outputs.count(1) == len(outputs):
            return [first + index * n_bytes for index in indexes]
        return [first + outputs.count(1, 0, index) * n_bytes for index in indexes]

    def logits(self, index: int) -> NDArray[np.float32]:
        """Return the logits of the batch's token `index`, shape (n_vocab,): a view, not a copy.

        Valid until the next decode or encode; a later read is a read of freed memory. Samplers see
        what is written to it. Raises the errors of logits_ptr().
        """
        return self.logits_at(self.logits_ptr(index))

    def logits_at(self, pointer: int) -> NDArray[np.float32]:
        """Return the view of logits() for an address that logits_ptr() returned."""
        import numpy as np

        return np.ctypeslib.as_array(self._logits_type.from_address(pointer))

    def embeddings_ith(self, index: int) -> NDArray[np.float32]:
        """Return a copy of the embedding of the batch's token `index`, shape (n_embd_out,).

        For contexts with `embeddings` and pooling "none"; InvalidParameterError for others, and if
        the token has no output.
        """
        import numpy as np

        self._check_output(index)
        pointer = llama.llama_get_embeddings_ith(self.ptr, index)
        # With pooling llama.cpp returns a buffer that it has not written to.
        if self.pooling_type != "none" or _is_null(pointer):
            raise InvalidParameterError("index", f"token {index} of the batch has no embedding")
        return np.array(pointer[: self.model.n_embd_out], np.float32)

    def embeddings_seq(self, seq_id: int) -> NDArray[np.float32]:
        """Return a copy of the pooled embedding of a sequence of the last batch.

        Shape (n_embd_out,), or (n_cls_out,) scores with pooling "rank". Raises
        InvalidParameterError if the sequence has none.
        """
        import numpy as np

        self._check_sequence(seq_id)
        pointer = llama.llama_get_embeddings_seq(self.ptr, seq_id)
        if _is_null(pointer):
            raise InvalidParameterError("seq_id", f"sequence {seq_id} has no pooled embedding")
        is_rank = self.pooling_type == "rank"
        n = self.model.n_cls_out if is_rank else self.model.n_embd_out
        return np.array(pointer[:n], np.float32)

    def synchronize(self) -> None:
        """Wait until all computation is done; methods that return outputs do this themselves."""
        llama.llama_synchronize(self.ptr)

    @property
    def has_our_attention(self) -> bool:
        """Whether our kernel computed all flash attention of the decodes until now (there was one).

        False for what only ggml's kernels can compute, such as a quantised KV cache.
        """
        return shim.lb_context_has_our_attention(self.ptr)

    @property
    def n_threads(self) -> int:
        """Threads that decode a single token."""
        return llama.llama_n_threads(self.ptr)

    @property
    def n_threads_batch(self) -> int:
        """Threads that decode several tokens."""
        return llama.llama_n_threads_batch(self.ptr)

    def set_n_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Change the thread counts from the next decode on; cheap."""
        check_int("n_threads", n_threads, 1, MAX_THREADS)
        check_int("n_threads_batch", n_threads_batch, 1, MAX_THREADS)
        llama.llama_set_n_threads(self.ptr, n_threads, n_threads_batch)

    def set_lora(self, adapters: Iterable[tuple[LoraAdapter, float]]) -> None:
        """Apply only these adapters, each with its scale, from the next decode on; () for none.

        Raises AdapterError for an adapter of another model.
        """
        wanted = dict(adapters)
        for adapter, scale in wanted.items():
            check_float("scale", scale)
            if adapter.model is not self.model:
                raise AdapterError(f"{adapter.path} was loaded for another model")
        handles = (ctypes.c_void_p * len(wanted))(*(adapter.ptr for adapter in wanted))
        scales = (ctypes.c_float * len(wanted))(*wanted.values())
        llama.llama_set_adapters_lora(self.ptr, handles, len(wanted), scales)
        self._adapters = wanted
        for adapter in wanted:
            adapter.before_close(self.drop_lora)

    def drop_lora(self, adapter: LoraAdapter) -> None:
        """Stop applying an adapter, which must happen before it is freed; may be called twice."""
        if adapter in self._adapters and not self.is_closed:
            self.set_lora(
                [(other, scale) for other, scale in self._adapters.items() if other is not adapter]
            )

    def _check_batch(self, batch: Batch) -> None:
        if self.model.params.no_alloc:
            raise InvalidBatchError(-1, "the model was loaded without its weights")
        n = len(batch)
        c_batch = batch.c_batch  # raises when the batch is closed
        if n < 1:
            raise InvalidBatchError(-1, "the batch is empty")
        if n > self.n_batch:
            raise too_long(c_batch.n_tokens, self.n_batch)
        if batch.max_seq_id >= self.n_seq_max:
            raise InvalidBatchError(
                -1, f"sequence {batch.max_seq_id} is not in 0..{self.n_seq_max - 1}"
            )
        lowest, highest = batch.token_range
        if lowest < 0 or highest >= self._n_vocab:
            raise InvalidBatchError(-1, f"a token is not in 0..{self._n_vocab - 1}")
        lowest, highest = batch.position_range
        if lowest < 0:
            raise InvalidBatchError(-1, f"position {lowest} is negative")
        if self._n_positions is not None and highest >= self._n_positions:
            last = self._n_positions - 1
            raise InvalidBatchError(-1, f"the model has no position beyond {last}")
        if self._is_split and batch.has_shared_token:
            # llama.cpp would report "no KV slot" (llama_batch_allocr::split_equal).
            raise InvalidBatchError(-1, "a token of several sequences needs kv_unified")
        if self.params.embeddings:
            batch.output_all()

    def _check_vectors(self, batch: VectorBatch, *, is_causal: bool) -> None:
        width, wanted = batch.embeddings.shape[1], self.model.n_embd_inp
        if self.model.params.no_alloc or not (self.is_causal and self.has_memory):
            raise InvalidBatchError(-1, "only a causal context with memory accepts vectors")
        n_positions, n_taken = len(batch.positions), 4 if self.model.uses_mrope else 1
        if n_positions != n_taken:
            raise InvalidBatchError(
                -1, f"each vector has {n_positions} positions, but the model expects {n_taken}"
            )
        if width != wanted:
            raise InvalidBatchError(
                -1, f"vectors have {width} numbers, but the model expects {wanted}"
            )
        limit = self.n_batch if is_causal else self.n_ubatch
        if len(batch) > limit:
            raise too_long(len(batch), limit)
        if batch.seq_id >= self.n_seq_max:
            raise InvalidBatchError(
                -1, f"sequence {batch.seq_id} is not in 0..{self.n_seq_max - 1}"
            )
        if self._n_positions is not None and batch.positions.max() >= self._n_positions:
            last = self._n_positions - 1
            raise InvalidBatchError(-1, f"the model has no position beyond {last}")

    def _check_output(self, index: int) -> None:
        # A debug build of llama.cpp aborts on an index without output.
        outputs = self._outputs
        if outputs is None:
            raise InvalidParameterError("index", "there are no outputs: call decode() first")
        if index == -1:
            has_output = 1 in outputs
        else:
            has_output = 0 <= index < len(outputs) and outputs[index] == 1
        if not has_output:
            raise InvalidParameterError("index", f"token {index} of the batch has no output")

    def _forget_outputs(self) -> None:
        self._outputs = None

    def _free(self, handle: ContextHandle) -> None:
        self._outputs = None
        self._adapters = {}
        shim.lb_context_free(handle)


def _is_null(pointer: Any) -> bool:
    return not pointer
