"""tokenize: calls llama_tokenize with room for all tokens, and with a stack that is deep enough."""

import ctypes
import re
from typing import Final

from llamabind._capi import llama
from llamabind._capi.types import VocabHandle
from llamabind.checks import INT32_MAX
from llamabind.errors import TokenizeError
from llamabind.system.deep_stack import call_with_stack

_OVERFLOW: Final = -(2**31)
# Shorter texts fit any thread's stack.
_ORDINARY_BYTES: Final = 4096
_FIRST_STACK_BYTES: Final = 1 << 20
_STACK_PER_BYTE: Final = 1024
_MAX_STACK_BYTES: Final = 1 << 30
_RUNS: Final = re.compile(rb"\s+|\S+")


def utf8(text: str | bytes) -> bytes:
    """Return the text in UTF-8. Raises TokenizeError for invalid Unicode or 2 GiB and more."""
    try:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        if isinstance(text, bytes):
            text.decode()
    except UnicodeEncodeError as error:
        raise TokenizeError(
            f"the text is not valid Unicode: lone surrogate at position {error.start}"
        ) from None
    except UnicodeDecodeError as error:
        raise TokenizeError(f"the bytes are not UTF-8: invalid at byte {error.start}") from None
    if len(raw) > INT32_MAX:
        raise TokenizeError(f"a text of {len(raw)} bytes is longer than {INT32_MAX}")
    return raw


def tokenize(
    vocab: VocabHandle, raw: bytes, add_special: bool, parse_special: bool, *, is_bpe: bool
) -> list[int]:
    """Return the tokens of `raw`, which is UTF-8. Raises TokenizeError.

    Long texts of a BPE vocabulary are tokenised on a thread with a large stack.
    """
    if not is_bpe or len(raw) <= _ORDINARY_BYTES:
        return _tokenize(vocab, raw, add_special, parse_special)
    try:
        return call_with_stack(
            _stack_bytes(raw), lambda: _tokenize(vocab, raw, add_special, parse_special)
        )
    except MemoryError as error:
        raise TokenizeError(f"a text of {len(raw)} bytes cannot be tokenised: {error}") from None


def _tokenize(vocab: VocabHandle, raw: bytes, add_special: bool, parse_special: bool) -> list[int]:
    # At most one token per byte, plus a space prefix and special tokens.
    size = len(raw) + 8
    for _ in range(2):
        tokens = (ctypes.c_int32 * size)()
        n = llama.llama_tokenize(vocab, raw, len(raw), tokens, size, add_special, parse_special)
        if n >= 0:
            return tokens[:n]
        if n == _OVERFLOW:
            break
        size = -n
    raise TokenizeError(f"a text of {len(raw)} bytes has more than {INT32_MAX} tokens")


def _stack_bytes(raw: bytes) -> int:
    """Return the bytes of stack that std::regex may need for the text; TokenizeError above 1 GiB.

    For several BPE vocabularies text is split by std::regex (src/unicode.cpp), which recurses once
    for each character of a match, 324 bytes each: a run of 26,000 letters overflows a thread's
    usual stack and ends the process. A match never crosses from whitespace to other characters.
    """
    needed = _FIRST_STACK_BYTES + _STACK_PER_BYTE * len(raw)
    if needed <= _MAX_STACK_BYTES:
        return needed
    longest = max(match.end() - match.start() for match in _RUNS.finditer(raw))
    if _FIRST_STACK_BYTES + _STACK_PER_BYTE * longest > _MAX_STACK_BYTES:
        raise TokenizeError(
            f"the text has {longest} consecutive bytes that are all spaces or contain no space, "
            f"the limit is {(_MAX_STACK_BYTES - _FIRST_STACK_BYTES) // _STACK_PER_BYTE}"
        )
    return _MAX_STACK_BYTES
