"""llama.h: batches and decoding."""

# mypy: disable-error-code="empty-body"

from ctypes import c_int32

from llamabind._capi.annotations import Ptr, i32, llama_seq_id, llama_token
from llamabind._capi.enums import llama_process_type
from llamabind._capi.handles import BatchExtPtr, ContextPtr
from llamabind._capi.llama_structs import llama_batch, llama_embd
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_batch_get_one(tokens: Ptr[c_int32], n_tokens: i32) -> llama_batch: ...


@c_function("llama")
def llama_batch_init(n_tokens: i32, embd: i32, n_seq_max: i32) -> llama_batch: ...


@c_function("llama")
def llama_batch_free(batch: llama_batch) -> None: ...


@c_function("llama")
def llama_encode(ctx: ContextPtr, batch: llama_batch) -> i32: ...


@c_function("llama")
def llama_decode(ctx: ContextPtr, batch: llama_batch) -> i32: ...


@c_function("llama")
def llama_batch_ext_init(ctx: ContextPtr) -> BatchExtPtr | None: ...


@c_function("llama")
def llama_batch_ext_free(batch: BatchExtPtr) -> None: ...


@c_function("llama")
def llama_batch_ext_clear(batch: BatchExtPtr) -> None: ...


@c_function("llama")
def llama_batch_ext_add(batch: BatchExtPtr, seq_id: llama_seq_id) -> i32: ...


@c_function("llama")
def llama_batch_ext_add_token(batch: BatchExtPtr, seq_id: llama_seq_id, id: llama_token) -> i32: ...


@c_function("llama")
def llama_batch_ext_add_embd(batch: BatchExtPtr, seq_id: llama_seq_id, embd: llama_embd) -> i32: ...


@c_function("llama")
def llama_batch_ext_add_seq(batch: BatchExtPtr, idx: i32, seq_id: llama_seq_id) -> bool: ...


@c_function("llama")
def llama_batch_ext_set_embd_token(batch: BatchExtPtr, idx: i32, embd: llama_embd) -> bool: ...


@c_function("llama")
def llama_batch_ext_set_embd_state(batch: BatchExtPtr, idx: i32, embd: llama_embd) -> bool: ...


@c_function("llama")
def llama_batch_ext_set_output_embd(batch: BatchExtPtr, idx: i32, value: bool) -> bool: ...


@c_function("llama")
def llama_batch_ext_set_output_logits(batch: BatchExtPtr, idx: i32, value: bool) -> bool: ...


@c_function("llama")
def llama_batch_ext_set_pos(batch: BatchExtPtr, idx: i32, pos: Ptr[c_int32]) -> bool: ...


@c_function("llama")
def llama_process(ctx: ContextPtr, type: llama_process_type, batch: BatchExtPtr) -> i32: ...
