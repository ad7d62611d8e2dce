"""llama.h: vocabularies, tokenisation (thread-safe) and the built-in chat templates."""

# mypy: disable-error-code="empty-body"

from ctypes import c_char_p, c_int32

from llamabind._capi import enums
from llamabind._capi.annotations import CharBuffer, Pointer, Ptr, f32, i32, llama_token, size_t
from llamabind._capi.enums import llama_token_attr
from llamabind._capi.handles import VocabPtr
from llamabind._capi.llama_structs import llama_chat_message
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_vocab_type(vocab: VocabPtr) -> enums.llama_vocab_type: ...


@c_function("llama")
def llama_vocab_n_tokens(vocab: VocabPtr) -> i32: ...


@c_function("llama")
def llama_vocab_get_text(vocab: VocabPtr, token: llama_token) -> bytes: ...


@c_function("llama")
def llama_vocab_get_score(vocab: VocabPtr, token: llama_token) -> f32: ...


@c_function("llama")
def llama_vocab_get_attr(vocab: VocabPtr, token: llama_token) -> llama_token_attr: ...


@c_function("llama")
def llama_vocab_is_eog(vocab: VocabPtr, token: llama_token) -> bool: ...


@c_function("llama")
def llama_vocab_is_control(vocab: VocabPtr, token: llama_token) -> bool: ...


@c_function("llama")
def llama_vocab_bos(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_eos(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_eot(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_sep(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_nl(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_pad(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_mask(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_get_add_bos(vocab: VocabPtr) -> bool: ...


@c_function("llama")
def llama_vocab_get_add_eos(vocab: VocabPtr) -> bool: ...


@c_function("llama")
def llama_vocab_get_add_sep(vocab: VocabPtr) -> bool: ...


@c_function("llama")
def llama_vocab_get_suppress_tokens(
    vocab: VocabPtr, n_suppress_tokens: Ptr[c_int32]
) -> Pointer[c_int32]: ...


@c_function("llama")
def llama_vocab_fim_pre(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_fim_suf(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_fim_mid(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_fim_pad(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_fim_rep(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_vocab_fim_sep(vocab: VocabPtr) -> llama_token: ...


@c_function("llama")
def llama_tokenize(
    vocab: VocabPtr,
    text: bytes,
    text_len: i32,
    tokens: Ptr[c_int32],
    n_tokens_max: i32,
    add_special: bool,
    parse_special: bool,
) -> i32: ...


@c_function("llama")
def llama_token_to_piece(
    vocab: VocabPtr, token: llama_token, buf: CharBuffer, length: i32, lstrip: i32, special: bool
) -> i32: ...


@c_function("llama")
def llama_detokenize(
    vocab: VocabPtr,
    tokens: Ptr[c_int32],
    n_tokens: i32,
    text: CharBuffer,
    text_len_max: i32,
    remove_special: bool,
    unparse_special: bool,
) -> i32: ...


@c_function("llama")
def llama_chat_apply_template(
    tmpl: bytes | None,
    chat: Ptr[llama_chat_message],
    n_msg: size_t,
    add_ass: bool,
    buf: CharBuffer,
    length: i32,
) -> i32: ...


@c_function("llama")
def llama_chat_builtin_templates(output: Ptr[c_char_p], len: size_t) -> i32: ...
