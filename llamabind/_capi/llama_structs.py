"""The structs of llama.h, in the header's order. Take defaults from C, then set named fields."""

import ctypes
from _ctypes import CFuncPtr
from ctypes import CFUNCTYPE, Structure, c_bool, c_char_p, c_int8, c_int32, c_uint32, c_void_p
from typing import Annotated

from llamabind._capi.annotations import (
    Address,
    Pointer,
    c_struct,
    f32,
    f64,
    i32,
    i64,
    llama_seq_id,
    llama_token,
    size_t,
    u32,
)
from llamabind._capi.callbacks import (
    ggml_abort_callback,
    ggml_backend_sched_eval_callback,
    ggml_opt_get_optimizer_params,
    llama_opt_param_filter,
    llama_progress_callback,
)
from llamabind._capi.enums import (
    ggml_opt_optimizer_type,
    ggml_type,
    llama_attention_type,
    llama_context_type,
    llama_flash_attn_type,
    llama_ftype,
    llama_lazy_mode,
    llama_load_mode,
    llama_model_kv_override_type,
    llama_pooling_type,
    llama_rope_scaling_type,
    llama_split_mode,
)
from llamabind._capi.handles import BufferTypePtr, ContextPtr, SamplerPtr, TensorPtr


@c_struct
class llama_token_data(Structure):
    __slots__ = ()
    id: llama_token
    logit: f32
    p: f32


@c_struct
class llama_token_data_array(Structure):
    __slots__ = ()
    data: Pointer[llama_token_data]
    size: size_t
    selected: i64  # an index into data, not a token
    sorted: bool


@c_struct
class llama_batch(Structure):
    """Arrays of n_tokens; `logits` marks the tokens whose output is wanted."""

    __slots__ = ()
    n_tokens: i32
    token: Pointer[c_int32]
    embd: Pointer[ctypes.c_float]
    pos: Pointer[c_int32]
    n_seq_id: Pointer[c_int32]
    seq_id: Pointer[Pointer[c_int32]]
    logits: Pointer[c_int8]


class llama_model_kv_override_value(ctypes.Union):
    """The anonymous union of llama_model_kv_override."""

    __slots__ = ()
    _fields_ = (
        ("val_i64", ctypes.c_int64),
        ("val_f64", ctypes.c_double),
        ("val_bool", c_bool),
        ("val_str", ctypes.c_char * 128),
    )


@c_struct
class llama_model_kv_override(Structure):
    """One metadata value; a list of them ends with one whose key is empty."""

    __slots__ = ()
    _anonymous_ = ("value",)
    tag: Annotated[int, llama_model_kv_override_type]
    key: Annotated[bytes, ctypes.c_char * 128]
    value: llama_model_kv_override_value


@c_struct
class llama_model_tensor_buft_override(Structure):
    __slots__ = ()
    pattern: bytes | None
    buft: BufferTypePtr | None


@c_struct
class llama_model_params(Structure):
    __slots__ = ()
    # a NULL-terminated list of ggml_backend_dev_t, or NULL for all
    devices: Annotated[Pointer[c_void_p], "ptr<ggml_backend_device>"]
    tensor_buft_overrides: Pointer[llama_model_tensor_buft_override]
    n_gpu_layers: i32  # negative: all
    split_mode: Annotated[int, llama_split_mode]
    load_mode: Annotated[int, llama_load_mode]
    lazy_mode: Annotated[int, llama_lazy_mode]
    main_gpu: i32
    tensor_split: Pointer[ctypes.c_float]  # llama_max_devices() proportions
    progress_callback: llama_progress_callback
    progress_callback_user_data: Address | None
    kv_overrides: Pointer[llama_model_kv_override]
    vocab_only: bool
    check_tensors: bool
    use_extra_bufts: bool
    no_host: bool
    no_alloc: bool
    load_mtp: bool


@c_struct
class llama_sampler_seq_config(Structure):
    __slots__ = ()
    seq_id: llama_seq_id
    sampler: SamplerPtr | None


@c_struct
class llama_context_params(Structure):
    __slots__ = ()
    n_ctx: u32
    n_batch: u32
    n_ubatch: u32
    n_seq_max: u32
    n_rs_seq: u32
    n_outputs_max: u32
    n_outputs_max_per_seq: u32
    n_threads: i32
    n_threads_batch: i32
    ctx_type: Annotated[int, llama_context_type]
    rope_scaling_type: Annotated[int, llama_rope_scaling_type]
    pooling_type: Annotated[int, llama_pooling_type]
    attention_type: Annotated[int, llama_attention_type]
    flash_attn_type: Annotated[int, llama_flash_attn_type]
    rope_freq_base: f32
    rope_freq_scale: f32
    yarn_ext_factor: f32
    yarn_attn_factor: f32
    yarn_beta_fast: f32
    yarn_beta_slow: f32
    yarn_orig_ctx: u32
    defrag_thold: f32  # deprecated in the header
    cb_eval: ggml_backend_sched_eval_callback
    cb_eval_user_data: Address | None
    type_k: Annotated[int, ggml_type]
    type_v: Annotated[int, ggml_type]
    abort_callback: ggml_abort_callback
    abort_callback_data: Address | None
    embeddings: bool
    offload_kqv: bool
    no_perf: bool
    op_offload: bool
    swa_full: bool
    kv_unified: bool
    samplers: Pointer[llama_sampler_seq_config]
    n_samplers: size_t
    ctx_other: ContextPtr | None


@c_struct
class llama_model_tensor_override(Structure):
    __slots__ = ()
    pattern: bytes | None
    type: Annotated[int, ggml_type]


@c_struct
class llama_model_imatrix_data(Structure):
    __slots__ = ()
    name: bytes | None
    data: Pointer[ctypes.c_float]
    size: size_t


@c_struct
class llama_model_quantize_params(Structure):
    __slots__ = ()
    nthread: i32
    ftype: Annotated[int, llama_ftype]
    output_tensor_type: Annotated[int, ggml_type]
    token_embedding_type: Annotated[int, ggml_type]
    allow_requantize: bool
    quantize_output_tensor: bool
    only_copy: bool
    pure: bool
    keep_split: bool
    dry_run: bool
    imatrix: Pointer[llama_model_imatrix_data]
    kv_overrides: Pointer[llama_model_kv_override]
    tt_overrides: Pointer[llama_model_tensor_override]
    prune_layers: Pointer[c_int32]
    max_buf_size: size_t


@c_struct
class llama_logit_bias(Structure):
    __slots__ = ()
    token: llama_token
    bias: f32


@c_struct
class llama_sampler_chain_params(Structure):
    __slots__ = ()
    no_perf: bool


@c_struct
class llama_chat_message(Structure):
    __slots__ = ()
    role: bytes | None
    content: bytes | None


@c_struct
class llama_embd(Structure):
    __slots__ = ()
    data: Pointer[ctypes.c_float]
    n_rows: size_t
    n_embd: size_t


@c_struct
class llama_sampler_data(Structure):
    __slots__ = ()
    logits: TensorPtr | None
    probs: TensorPtr | None
    sampled: TensorPtr | None
    candidates: TensorPtr | None


@c_struct
class llama_sampler_i(Structure):
    """The functions of a sampler written outside llama.cpp; the first argument is the sampler."""

    __slots__ = ()
    name: Annotated[CFuncPtr, CFUNCTYPE(c_char_p, c_void_p)]
    accept: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p, c_int32)]
    apply: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p, ctypes.POINTER(llama_token_data_array))]
    reset: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p)]
    clone: Annotated[CFuncPtr, CFUNCTYPE(c_void_p, c_void_p)]
    free: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p)]
    backend_init: Annotated[CFuncPtr, CFUNCTYPE(c_bool, c_void_p, c_void_p, c_uint32)]
    backend_accept: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)]
    backend_apply: Annotated[
        CFuncPtr,
        CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, ctypes.POINTER(llama_sampler_data)),
    ]
    backend_set_input: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p)]
    backend_reset: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p)]
    copy_state: Annotated[CFuncPtr, CFUNCTYPE(None, c_void_p, c_void_p)]


@c_struct
class llama_sampler(Structure):
    """What a SamplerHandle points to."""

    __slots__ = ()
    iface: Pointer[llama_sampler_i]
    ctx: Address | None


@c_struct
class llama_perf_context_data(Structure):
    """Milliseconds and token counts since the last llama_perf_context_reset."""

    __slots__ = ()
    t_start_ms: f64
    t_load_ms: f64
    t_p_eval_ms: f64
    t_eval_ms: f64
    n_p_eval: i32
    n_eval: i32
    n_reused: i32


@c_struct
class llama_perf_sampler_data(Structure):
    __slots__ = ()
    t_sample_ms: f64
    n_sample: i32


@c_struct
class llama_opt_params(Structure):
    __slots__ = ()
    n_ctx_train: u32
    param_filter: llama_opt_param_filter
    param_filter_ud: Address | None
    get_opt_pars: ggml_opt_get_optimizer_params
    get_opt_pars_ud: Address | None
    optimizer_type: Annotated[int, ggml_opt_optimizer_type]
