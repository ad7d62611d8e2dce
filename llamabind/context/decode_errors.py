"""The exceptions for the return codes of llama_decode and llama_encode."""

from llamabind.errors import (
    DecodeAbortedError,
    DecodeError,
    DecodeFailedError,
    InvalidBatchError,
    NoKvSlotError,
)


def decode_error(code: int, native_lines: list[str]) -> DecodeError:
    """Return the exception for a return code of llama_decode or llama_encode that is not 0."""
    kinds: dict[int, tuple[type[DecodeError], str]] = {
        1: (NoKvSlotError, "the KV cache has too few free cells for this batch"),
        2: (DecodeAbortedError, "the computation was aborted"),
        -1: (InvalidBatchError, "llama.cpp refused the batch"),
    }
    kind, message = kinds.get(code, (DecodeFailedError, f"decoding failed with code {code}"))
    detail = "; ".join(native_lines[-4:])
    return kind(code, f"{message}: {detail}" if detail else message)


def too_long(n_tokens: int, limit: int) -> InvalidBatchError:
    """Return the exception for a batch of more than `limit` tokens."""
    return InvalidBatchError(-1, f"the batch has {n_tokens} tokens, at most {limit} fit")
