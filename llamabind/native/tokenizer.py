"""Tokenizer: text to tokens and back, by the vocabulary of a loaded model."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final, Self

from llamabind._capi import enums, llama, shim
from llamabind._capi.types import VocabHandle
from llamabind.errors import TokenizeError
from llamabind.native.handle import Handle
from llamabind.native.special_cuts import SpecialCuts
from llamabind.native.tokenize_text import tokenize, utf8

_PIECE_BYTES: Final = 64
# Their tokens after a special token do not depend on the text before it.
_CUT_TYPES: Final = (
    enums.llama_vocab_type.LLAMA_VOCAB_TYPE_BPE,
    enums.llama_vocab_type.LLAMA_VOCAB_TYPE_SPM,
)

# Plain numbers: those of an IntFlag are slow to combine.
_CONTROL: Final = int(
    enums.llama_token_attr.LLAMA_TOKEN_ATTR_CONTROL
    | enums.llama_token_attr.LLAMA_TOKEN_ATTR_UNKNOWN
)
_SPECIAL: Final = _CONTROL | int(enums.llama_token_attr.LLAMA_TOKEN_ATTR_USER_DEFINED)
_STRIPS: Final = int(
    enums.llama_token_attr.LLAMA_TOKEN_ATTR_LSTRIP | enums.llama_token_attr.LLAMA_TOKEN_ATTR_RSTRIP
)

# Longer texts are tokenised in pieces.
_WHOLE_BYTES: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Token ids by their meaning, None where the vocabulary has no such token."""

    bos: int | None
    eos: int | None
    eot: int | None
    sep: int | None
    nl: int | None
    pad: int | None
    mask: int | None
    fim_pre: int | None
    fim_suf: int | None
    fim_mid: int | None
    fim_pad: int | None
    fim_rep: int | None
    fim_sep: int | None

    @classmethod
    def of(cls, vocab: VocabHandle) -> Self:
        """Read the ids with llama_vocab_bos and its siblings (llama.h)."""
        ids = (getattr(llama, f"llama_vocab_{field.name}")(vocab) for field in fields(cls))
        return cls(*(None if token < 0 else token for token in ids))


class Tokenizer:
    """The vocabulary of a model; any thread may use it until the model is closed.

    llama_tokenize and its siblings are thread-safe (llama.h); token ids are checked here, because
    native code aborts on one that is out of range.
    """

    def __init__(self, owner: Handle[Any], vocab: VocabHandle) -> None:
        """`vocab` is valid until its `owner`, the model, is closed."""
        self._owner = owner
        self._vocab = vocab
        self.n_tokens = llama.llama_vocab_n_tokens(vocab)
        self.vocab_type = enums.llama_vocab_type(llama.llama_vocab_type(vocab))
        self.special = SpecialTokens.of(vocab)
        self.add_bos = llama.llama_vocab_get_add_bos(vocab)
        self.add_eos = llama.llama_vocab_get_add_eos(vocab)
        self.add_sep = llama.llama_vocab_get_add_sep(vocab)
        self._pieces: list[bytes | None] = [None] * self.n_tokens
        self._special_pieces: list[bytes | None] = [None] * self.n_tokens
        self._ends: dict[int, bool] = {}

    @property
    def ptr(self) -> VocabHandle:
        """The raw vocabulary; raises HandleClosedError when the model is closed."""
        _ = self._owner.ptr
        return self._vocab

    @property
    def bos(self) -> int | None:
        """The token that begins a text, or None."""
        return self.special.bos

    @property
    def eos(self) -> int | None:
        """The token that ends a text, or None."""
        return self.special.eos

    @property
    def eot(self) -> int | None:
        """The token that ends a turn of a chat, or None."""
        return self.special.eot

    def encode(
        self,
        text: str | bytes,
        *,
        add_special: bool = True,
        parse_special: bool = False,
        check: Callable[[], None] | None = None,
    ) -> list[int]:
        """Return the tokens of `text`; bytes must be UTF-8.

        `add_special` adds BOS, EOS or SEP if the model is configured to. `parse_special` reads
        texts like "<|im_end|>" as special tokens; without it they are plain text, so set it for
        rendered templates only. `check` is called before each piece of a long text with special
        tokens, and may raise. Raises TokenizeError.
        """
        vocab = self._require_vocabulary()
        raw = utf8(text)
        if len(raw) <= _WHOLE_BYTES or self.vocab_type not in _CUT_TYPES:
            return self._encode(vocab, raw, add_special, parse_special)
        tokens: list[int] = []
        for piece, has_control in (self._cuts if parse_special else self._plain_cuts).pieces(raw):
            if check is not None:
                check()
            tokens += self._encode(vocab, piece, False, has_control)
        if not add_special:
            return tokens
        begin = [self.bos] if self.add_bos and self.bos is not None else []
        end = [self.eos] if self.add_eos and self.eos is not None else []
        return [*begin, *tokens, *end]

    def _encode(
        self, vocab: VocabHandle, raw: bytes, add_special: bool, parse_special: bool
    ) -> list[int]:
        is_bpe = self.vocab_type == enums.llama_vocab_type.LLAMA_VOCAB_TYPE_BPE
        return tokenize(vocab, raw, add_special, parse_special, is_bpe=is_bpe)

    def decode(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> str:
        """Return the text of `tokens`; bytes that are not UTF-8 become U+FFFD.

        `remove_special` drops a leading BOS and a trailing EOS if the model adds them;
        `unparse_special` writes special tokens as text, which are omitted otherwise.
        """
        return self.decode_bytes(
            tokens, remove_special=remove_special, unparse_special=unparse_special
        ).decode(errors="replace")

    def decode_bytes(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> bytes:
        """Return the bytes of `tokens`, as decode does."""
        vocab = self._require_vocabulary()
        self._check_tokens(tokens)
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        size = 8 * len(tokens) + _PIECE_BYTES
        for _ in range(2):
            buffer = ctypes.create_string_buffer(size)
            n = llama.llama_detokenize(
                vocab, array, len(array), buffer, size, remove_special, unparse_special
            )
            if n >= 0:
                return buffer.raw[:n]
            size = -n
        raise TokenizeError(f"the text of {len(tokens)} tokens could not be read")

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of one token, possibly only a part of a character; cached.

        Special tokens are empty unless `special` is set.
        """
        # Native code aborts on a token beyond the vocabulary.
        self._check_token(token)
        cache = self._special_pieces if special else self._pieces
        known = cache[token]
        if known is None:
            known = cache[token] = self._read_piece(token, special)
        return known

    def is_eog(self, token: int) -> bool:
        """Return whether the token ends a generation (EOS, EOT and the like); cached.

        It is asked for every generated token, and a native call may wait for the GIL.
        """
        known = self._ends.get(token)
        if known is None:
            vocab = self._require_vocabulary()
            known = self._ends[token] = llama.llama_vocab_is_eog(vocab, self._check_token(token))
        return known

    @cached_property
    def eog_tokens(self) -> tuple[int, ...]:
        """All tokens that end a generation."""
        return self._find(0, ends=True)

    @cached_property
    def suppressed_tokens(self) -> tuple[int, ...]:
        """The tokens that, by the model's file, must never be generated."""
        count = ctypes.c_int32()
        tokens = llama.llama_vocab_get_suppress_tokens(self.ptr, ctypes.byref(count))
        return tuple(tokens[: count.value])

    @cached_property
    def control_texts(self) -> tuple[str, ...]:
        """The texts of tokens that only `parse_special` recognises, such as "<|im_end|>"."""
        return tuple(
            text.decode(errors="replace")
            for text, attributes in self._special_texts
            if attributes & _CONTROL
        )

    @cached_property
    def longest_piece(self) -> int | None:
        """The most bytes of text that one token can represent; None for no limit.

        WordPiece and Unigram vocabularies have no limit: they drop spaces and merge unknown
        characters into one token.
        """
        kinds = enums.llama_vocab_type
        if self.vocab_type in (kinds.LLAMA_VOCAB_TYPE_WPM, kinds.LLAMA_VOCAB_TYPE_UGM):
            return None
        return max(len(self.piece(token, special=True)) for token in range(self.n_tokens))

    @cached_property
    def _cuts(self) -> SpecialCuts:
        texts = self._parsed_texts
        return SpecialCuts(
            {text: is_alone for text, (_, is_alone) in texts.items()},
            [text for text, (is_control, _) in texts.items() if is_control],
        )

    @cached_property
    def _plain_cuts(self) -> SpecialCuts:
        """Without the tokens that only `parse_special` recognises."""
        texts = self._parsed_texts
        return SpecialCuts({text: it[1] for text, it in texts.items() if not it[0]})

    @cached_property
    def _parsed_texts(self) -> dict[bytes, tuple[bool, bool]]:
        """The texts that the tokenizer looks for: only with `parse_special`? Without its spaces?"""
        texts: dict[bytes, tuple[bool, bool]] = {}
        for text, attributes in self._special_texts:
            is_control, is_alone = texts.get(text, (True, True))
            texts[text] = (
                is_control and bool(attributes & _CONTROL),
                is_alone and not attributes & _STRIPS,
            )
        return texts

    @cached_property
    def _special_texts(self) -> tuple[tuple[bytes, int], ...]:
        """Text and attributes of each token that is special and has a text."""
        vocab = self._require_vocabulary()
        texts = (
            (llama.llama_vocab_get_text(vocab, token), llama.llama_vocab_get_attr(vocab, token))
            for token in self._find(_SPECIAL)
        )
        return tuple((text, attributes) for text, attributes in texts if text)

    def _find(self, attributes: int, *, ends: bool = False) -> tuple[int, ...]:
        """Return the tokens with any of the attributes, or that end a generation.

        One native call: there may be 262,144 tokens, and the first conversation waits for it.
        """
        vocab = self._require_vocabulary()
        found = (ctypes.c_int32 * self.n_tokens)()
        n_found = shim.lb_find_tokens(vocab, attributes, ends, found, self.n_tokens)
        return tuple(found[:n_found])

    def is_control(self, token: int) -> bool:
        """Return whether the token is a control token rather than text."""
        return llama.llama_vocab_is_control(self._require_vocabulary(), self._check_token(token))

    def text(self, token: int) -> str:
        """Return the token as the vocabulary spells it, such as "Ġthe" or "<0x0A>"."""
        raw = llama.llama_vocab_get_text(self._require_vocabulary(), self._check_token(token))
        return (raw or b"").decode(errors="replace")

    def score(self, token: int) -> float:
        """Return the token's score, 0 if the vocabulary has no scores."""
        return llama.llama_vocab_get_score(self._require_vocabulary(), self._check_token(token))

    def attributes(self, token: int) -> enums.llama_token_attr:
        """Return the flags of llama_token_attr of llama.h."""
        vocab = self._require_vocabulary()
        return enums.llama_token_attr(llama.llama_vocab_get_attr(vocab, self._check_token(token)))

    def _read_piece(self, token: int, special: bool) -> bytes:
        vocab = self._require_vocabulary()
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        n = llama.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, special)
        if n < 0:
            buffer = ctypes.create_string_buffer(-n)
            n = llama.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, special)
        if n < 0:
            raise TokenizeError(f"token {token} has a piece of {-n} bytes that cannot be read")
        return buffer.raw[:n]

    def _require_vocabulary(self) -> VocabHandle:
        if self.vocab_type == enums.llama_vocab_type.LLAMA_VOCAB_TYPE_NONE:
            raise TokenizeError("the model has no vocabulary")
        return self.ptr

    def _check_token(self, token: int) -> int:
        if not 0 <= token < self.n_tokens:
            raise TokenizeError(f"token {token} is not in 0..{self.n_tokens - 1}")
        return token

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        if len(tokens) > 0:
            self._check_token(min(tokens))
            self._check_token(max(tokens))
