"""llama.h: the memory (KV cache) of a context, and its saved state."""

# mypy: disable-error-code="empty-body"

from ctypes import c_int32, c_size_t

from llamabind._capi.annotations import (
    ByteData,
    Ptr,
    c_int,
    llama_pos,
    llama_seq_id,
    llama_state_seq_flags,
    size_t,
)
from llamabind._capi.handles import ContextPtr, MemoryPtr
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_memory_clear(mem: MemoryPtr, data: bool) -> None: ...


@c_function("llama")
def llama_memory_seq_rm(
    mem: MemoryPtr, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos
) -> bool: ...


@c_function("llama")
def llama_memory_seq_cp(
    mem: MemoryPtr, seq_id_src: llama_seq_id, seq_id_dst: llama_seq_id, p0: llama_pos, p1: llama_pos
) -> None: ...


@c_function("llama")
def llama_memory_seq_keep(mem: MemoryPtr, seq_id: llama_seq_id) -> None: ...


@c_function("llama")
def llama_memory_seq_add(
    mem: MemoryPtr, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, delta: llama_pos
) -> None: ...


@c_function("llama")
def llama_memory_seq_div(
    mem: MemoryPtr, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, d: c_int
) -> None: ...


@c_function("llama")
def llama_memory_seq_pos_min(mem: MemoryPtr, seq_id: llama_seq_id) -> llama_pos: ...


@c_function("llama")
def llama_memory_seq_pos_max(mem: MemoryPtr, seq_id: llama_seq_id) -> llama_pos: ...


@c_function("llama")
def llama_memory_can_shift(mem: MemoryPtr) -> bool: ...


@c_function("llama")
def llama_state_get_size(ctx: ContextPtr) -> size_t: ...


@c_function("llama")
def llama_state_get_data(ctx: ContextPtr, dst: ByteData, size: size_t) -> size_t: ...


@c_function("llama")
def llama_state_set_data(ctx: ContextPtr, src: ByteData, size: size_t) -> size_t: ...


@c_function("llama")
def llama_state_load_file(
    ctx: ContextPtr,
    path_session: bytes,
    tokens_out: Ptr[c_int32],
    n_token_capacity: size_t,
    n_token_count_out: Ptr[c_size_t],
) -> bool: ...


@c_function("llama")
def llama_state_save_file(
    ctx: ContextPtr, path_session: bytes, tokens: Ptr[c_int32], n_token_count: size_t
) -> bool: ...


@c_function("llama")
def llama_state_seq_get_size(ctx: ContextPtr, seq_id: llama_seq_id) -> size_t: ...


@c_function("llama")
def llama_state_seq_get_data(
    ctx: ContextPtr, dst: ByteData, size: size_t, seq_id: llama_seq_id
) -> size_t: ...


@c_function("llama")
def llama_state_seq_set_data(
    ctx: ContextPtr, src: ByteData, size: size_t, dest_seq_id: llama_seq_id
) -> size_t: ...


@c_function("llama")
def llama_state_seq_save_file(
    ctx: ContextPtr,
    filepath: bytes,
    seq_id: llama_seq_id,
    tokens: Ptr[c_int32],
    n_token_count: size_t,
) -> size_t: ...


@c_function("llama")
def llama_state_seq_load_file(
    ctx: ContextPtr,
    filepath: bytes,
    dest_seq_id: llama_seq_id,
    tokens_out: Ptr[c_int32],
    n_token_capacity: size_t,
    n_token_count_out: Ptr[c_size_t],
) -> size_t: ...


@c_function("llama")
def llama_state_seq_get_size_ext(
    ctx: ContextPtr, seq_id: llama_seq_id, flags: llama_state_seq_flags
) -> size_t: ...


@c_function("llama")
def llama_state_seq_get_data_ext(
    ctx: ContextPtr, dst: ByteData, size: size_t, seq_id: llama_seq_id, flags: llama_state_seq_flags
) -> size_t: ...


@c_function("llama")
def llama_state_seq_set_data_ext(
    ctx: ContextPtr,
    src: ByteData,
    size: size_t,
    dest_seq_id: llama_seq_id,
    flags: llama_state_seq_flags,
) -> size_t: ...
