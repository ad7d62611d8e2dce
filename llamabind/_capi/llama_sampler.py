"""llama.h: samplers. A chain owns what is added to it."""

# mypy: disable-error-code="empty-body"

from ctypes import c_char_p, c_int32

from llamabind._capi.annotations import (
    Ptr,
    VoidPtr,
    f32,
    i32,
    llama_seq_id,
    llama_token,
    size_t,
    u32,
)
from llamabind._capi.handles import ContextPtr, SamplerPtr, VocabPtr
from llamabind._capi.llama_structs import (
    llama_logit_bias,
    llama_perf_sampler_data,
    llama_sampler_chain_params,
    llama_sampler_i,
    llama_token_data_array,
)
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_set_sampler(ctx: ContextPtr, seq_id: llama_seq_id, smpl: SamplerPtr | None) -> bool: ...


@c_function("llama")
def llama_sampler_init(iface: Ptr[llama_sampler_i], ctx: VoidPtr) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_name(smpl: SamplerPtr) -> bytes: ...


@c_function("llama")
def llama_sampler_accept(smpl: SamplerPtr, token: llama_token) -> None: ...


@c_function("llama")
def llama_sampler_apply(smpl: SamplerPtr, cur_p: Ptr[llama_token_data_array]) -> None: ...


@c_function("llama")
def llama_sampler_reset(smpl: SamplerPtr) -> None: ...


@c_function("llama")
def llama_sampler_clone(smpl: SamplerPtr) -> SamplerPtr | None: ...


@c_function("llama")
def llama_sampler_copy(src: SamplerPtr, dst: SamplerPtr) -> None: ...


@c_function("llama")
def llama_sampler_free(smpl: SamplerPtr) -> None: ...


@c_function("llama")
def llama_sampler_chain_init(params: llama_sampler_chain_params) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_chain_add(chain: SamplerPtr, smpl: SamplerPtr) -> None: ...


@c_function("llama")
def llama_sampler_chain_get(chain: SamplerPtr, i: i32) -> SamplerPtr | None: ...


@c_function("llama")
def llama_sampler_chain_n(chain: SamplerPtr) -> i32: ...


@c_function("llama")
def llama_sampler_chain_remove(chain: SamplerPtr, i: i32) -> SamplerPtr | None: ...


@c_function("llama")
def llama_sampler_init_greedy() -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_dist(seed: u32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_top_k(k: i32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_top_p(p: f32, min_keep: size_t) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_min_p(p: f32, min_keep: size_t) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_typical(p: f32, min_keep: size_t) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_temp(t: f32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_temp_ext(t: f32, delta: f32, exponent: f32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_xtc(p: f32, t: f32, min_keep: size_t, seed: u32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_top_n_sigma(n: f32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_mirostat(
    n_vocab: i32, seed: u32, tau: f32, eta: f32, m: i32
) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_mirostat_v2(seed: u32, tau: f32, eta: f32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_grammar(
    vocab: VocabPtr, grammar_str: bytes, grammar_root: bytes
) -> SamplerPtr | None: ...


@c_function("llama")
def llama_sampler_init_grammar_lazy_patterns(
    vocab: VocabPtr,
    grammar_str: bytes,
    grammar_root: bytes,
    trigger_patterns: Ptr[c_char_p],
    num_trigger_patterns: size_t,
    trigger_tokens: Ptr[c_int32],
    num_trigger_tokens: size_t,
) -> SamplerPtr | None: ...


@c_function("llama")
def llama_sampler_init_penalties(
    n_vocab: i32, penalty_last_n: i32, penalty_repeat: f32, penalty_freq: f32, penalty_present: f32
) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_dry(
    vocab: VocabPtr,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: i32,
    dry_penalty_last_n: i32,
    seq_breakers: Ptr[c_char_p],
    num_breakers: size_t,
) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_adaptive_p(target: f32, decay: f32, seed: u32) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_logit_bias(
    n_vocab: i32, n_logit_bias: i32, logit_bias: Ptr[llama_logit_bias]
) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_init_infill(vocab: VocabPtr) -> SamplerPtr: ...


@c_function("llama")
def llama_sampler_get_seed(smpl: SamplerPtr) -> u32: ...


@c_function("llama")
def llama_sampler_sample(smpl: SamplerPtr, ctx: ContextPtr, idx: i32) -> llama_token: ...


@c_function("llama")
def llama_perf_sampler(chain: SamplerPtr) -> llama_perf_sampler_data: ...


@c_function("llama")
def llama_perf_sampler_print(chain: SamplerPtr) -> None: ...


@c_function("llama")
def llama_perf_sampler_reset(chain: SamplerPtr) -> None: ...
