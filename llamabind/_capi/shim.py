"""libllamabind: chat templates, grammars, sampling, attention, memory figures (csrc/llamabind.h).

A call that fails returns None, or a status other than LB_OK; lb_last_status and lb_last_error of
the same thread then say why. Results of type CText are freed with lb_string_free.
"""

# mypy: disable-error-code="empty-body"
import ctypes
from enum import IntEnum
from typing import Annotated, NewType, TypeAlias

from llamabind._capi.loader import c_function
from llamabind._capi.types import (
    ContextPtr,
    ModelPtr,
    Pointer,
    Ptr,
    SamplerPtr,
    VocabPtr,
    f32,
    f64,
    i32,
    llama_context_params,
    llama_model_params,
    llama_model_tensor_buft_override,
    llama_token,
    llama_token_data_array,
    size_t,
    u32,
)

ChatHandle = NewType("ChatHandle", int)
ParserHandle = NewType("ParserHandle", int)
GrammarHandle = NewType("GrammarHandle", int)
GuardedSamplerHandle = NewType("GuardedSamplerHandle", int)
TextHandle = NewType("TextHandle", int)

ChatPtr: TypeAlias = Annotated[ChatHandle, ctypes.c_void_p, "lb_chat"]
ParserPtr: TypeAlias = Annotated[ParserHandle, ctypes.c_void_p, "lb_parser"]
GrammarPtr: TypeAlias = Annotated[GrammarHandle, ctypes.c_void_p, "lb_grammar"]
GuardedSamplerPtr: TypeAlias = Annotated[GuardedSamplerHandle, ctypes.c_void_p, "lb_sampler"]
# A char * that we own: read with ctypes.string_at, free with lb_string_free.
CText: TypeAlias = Annotated[TextHandle, ctypes.c_void_p, "char"]


class lb_status(IntEnum):
    """The status of a call; llamabind.h describes each value."""

    LB_OK = 0
    LB_INVALID = 1
    LB_REFUSED = 2
    LB_ERROR = 3
    LB_NO_MEMORY = 4
    LB_TOKEN_REFUSED = 5
    LB_GRAMMAR_DEAD_END = 6
    LB_GRAMMAR_TOO_COSTLY = 7
    LB_STOPPED = 8


@c_function("llamabind")
def lb_last_error() -> bytes: ...


@c_function("llamabind")
def lb_last_status() -> i32: ...


@c_function("llamabind")
def lb_string_free(text: CText | None) -> None: ...


@c_function("llamabind")
def lb_llama_commit() -> bytes: ...


@c_function("llamabind")
def lb_build_number() -> i32: ...


@c_function("llamabind")
def lb_struct_size(name: bytes) -> size_t: ...


@c_function("llamabind")
def lb_chat_init(
    model: ModelPtr | None, template_override: bytes | None, stop: Ptr[ctypes.c_int32] | None
) -> ChatPtr | None: ...


@c_function("llamabind")
def lb_chat_free(chat: ChatPtr | None) -> None: ...


@c_function("llamabind")
def lb_chat_describe(chat: ChatPtr, stop: Ptr[ctypes.c_int32] | None) -> CText | None: ...


@c_function("llamabind")
def lb_chat_render(
    chat: ChatPtr, request_json: bytes, max_seconds: f64, stop: Ptr[ctypes.c_int32] | None
) -> CText | None: ...


@c_function("llamabind")
def lb_parser_init(spec_json: bytes | None) -> ParserPtr | None: ...


@c_function("llamabind")
def lb_parser_free(parser: ParserPtr | None) -> None: ...


@c_function("llamabind")
def lb_parser_parse(
    parser: ParserPtr, text: bytes, n_text: size_t, is_partial: bool
) -> CText | None: ...


@c_function("llamabind")
def lb_parser_feed(
    parser: ParserPtr, text: bytes, n_text: size_t, is_final: bool
) -> CText | None: ...


@c_function("llamabind")
def lb_parser_message(parser: ParserPtr) -> CText | None: ...


@c_function("llamabind")
def lb_json_schema_to_grammar(schema_json: bytes) -> CText | None: ...


@c_function("llamabind")
def lb_grammar_init(vocab: VocabPtr, spec_json: bytes) -> GrammarPtr | None: ...


@c_function("llamabind")
def lb_grammar_clone(grammar: GrammarPtr) -> GrammarPtr | None: ...


@c_function("llamabind")
def lb_grammar_free(grammar: GrammarPtr | None) -> None: ...


@c_function("llamabind")
def lb_grammar_reset(grammar: GrammarPtr) -> i32: ...


@c_function("llamabind")
def lb_grammar_check(grammar: GrammarPtr, token: llama_token) -> i32: ...


@c_function("llamabind")
def lb_grammar_accept(grammar: GrammarPtr, token: llama_token) -> i32: ...


@c_function("llamabind")
def lb_grammar_apply(grammar: GrammarPtr, candidates: Ptr[llama_token_data_array]) -> i32: ...


@c_function("llamabind")
def lb_grammar_is_waiting(grammar: GrammarPtr) -> bool: ...


@c_function("llamabind")
def lb_grammar_is_complete(grammar: GrammarPtr) -> bool: ...


@c_function("llamabind")
def lb_sampler_init(
    vocab: VocabPtr, chain: SamplerPtr, grammar: GrammarPtr | None
) -> GuardedSamplerPtr | None: ...


@c_function("llamabind")
def lb_sampler_clone(sampler: GuardedSamplerPtr) -> GuardedSamplerPtr | None: ...


@c_function("llamabind")
def lb_sampler_set_n_best(sampler: GuardedSamplerPtr, n_best: i32) -> None: ...


@c_function("llamabind")
def lb_sampler_set_min_p(sampler: GuardedSamplerPtr, log_p: f32, n_excluded: i32) -> None: ...


@c_function("llamabind")
def lb_sampler_track_reasoning(sampler: GuardedSamplerPtr, spec_json: bytes) -> i32: ...


@c_function("llamabind")
def lb_sampler_free(sampler: GuardedSamplerPtr | None) -> None: ...


@c_function("llamabind")
def lb_sampler_reset(sampler: GuardedSamplerPtr) -> i32: ...


@c_function("llamabind")
def lb_sampler_accept(
    sampler: GuardedSamplerPtr, token: llama_token, is_generated: bool
) -> i32: ...


@c_function("llamabind")
def lb_sample(
    samplers: Annotated[Ptr[ctypes.c_void_p], "ptr<lb_sampler>"],
    logits: Annotated[Ptr[ctypes.c_void_p], "ptr<f32>"],
    n: i32,
    n_vocab: i32,
    accept: bool,
    n_threads: i32,
    out_tokens: Ptr[ctypes.c_int32],
    out_status: Ptr[ctypes.c_int32],
) -> i32: ...


@c_function("llamabind")
def lb_top_logprobs(
    logits: Annotated[Ptr[ctypes.c_void_p], "ptr<f32>"],
    n: i32,
    n_vocab: i32,
    k: i32,
    tokens: Ptr[ctypes.c_int32],
    out_ids: Ptr[ctypes.c_int32],
    out_logprobs: Ptr[ctypes.c_float],
    out_token_logprobs: Ptr[ctypes.c_float],
) -> i32: ...


@c_function("llamabind")
def lb_find_tokens(
    vocab: VocabPtr, attributes: i32, ends: bool, out: Ptr[ctypes.c_int32], capacity: i32
) -> i32: ...


@c_function("llamabind")
def lb_memory_breakdown(ctx: ContextPtr) -> CText | None: ...


@c_function("llamabind")
def lb_context_init(
    model: ModelPtr,
    cparams: Ptr[llama_context_params],
    attention: bytes | None,
    products: bytes | None,
    deterministic: bool,
    settle_ms: i32,
) -> ContextPtr | None: ...


@c_function("llamabind")
def lb_context_free(ctx: ContextPtr) -> None: ...


@c_function("llamabind")
def lb_context_has_our_attention(ctx: ContextPtr) -> bool: ...


@c_function("llamabind")
def lb_has_attention(name: bytes) -> bool: ...


@c_function("llamabind")
def lb_context_set_hidden_states(ctx: ContextPtr, enabled: bool, only_outputs: bool) -> i32: ...


@c_function("llamabind")
def lb_context_hidden_states(ctx: ContextPtr) -> Pointer[ctypes.c_float]: ...


@c_function("llamabind")
def lb_context_hidden_state(ctx: ContextPtr, index: i32) -> Pointer[ctypes.c_float]: ...


@c_function("llamabind")
def lb_context_set_layer_inputs(ctx: ContextPtr, layer: i32, enabled: bool) -> i32: ...


@c_function("llamabind")
def lb_context_layer_inputs(ctx: ContextPtr, layer: i32) -> Pointer[ctypes.c_float]: ...


@c_function("llamabind")
def lb_model_target_layers(
    model: ModelPtr, out_layers: Ptr[ctypes.c_int32], n_most: i32
) -> i32: ...


@c_function("llamabind")
def lb_attention_name() -> bytes: ...


@c_function("llamabind")
def lb_has_products(name: bytes) -> bool: ...


@c_function("llamabind")
def lb_products_name() -> bytes: ...


@c_function("llamabind")
def lb_multiply(
    products: bytes | None,
    type: i32,
    weights: Ptr[ctypes.c_uint8],
    n: size_t,
    n_rows: size_t,
    tokens: Ptr[ctypes.c_float],
    n_tokens: size_t,
    results: Ptr[ctypes.c_float],
) -> i32: ...


@c_function("llamabind")
def lb_count_misused_weights(
    ctx: ContextPtr, buffer_type: bytes, out_n: Ptr[ctypes.c_int32]
) -> i32: ...


@c_function("llamabind")
def lb_fit_params(
    path: bytes,
    mparams: Ptr[llama_model_params],
    cparams: Ptr[llama_context_params],
    tensor_split: Ptr[ctypes.c_float],
    buft_overrides: Ptr[llama_model_tensor_buft_override],
    margins: Ptr[ctypes.c_size_t],
    n_ctx_min: u32,
) -> i32: ...
