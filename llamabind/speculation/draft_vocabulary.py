"""Checks that a draft model has the same vocabulary as the model it drafts for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamabind.native.model import Model
    from llamabind.native.tokenizer import Tokenizer

_MAX_SIZE_DIFFERENCE = 128
"""SPEC_VOCAB_MAX_SIZE_DIFFERENCE of common/speculative.cpp: models of a family pad differently."""

_FIRST_COMPARED = 5
"""SPEC_VOCAB_CHECK_START_TOKEN_ID: the first tokens are special ones whose names differ."""


def check_draft_vocabulary(model: Model, draft: Model) -> None:
    """Compare the vocabularies as common_speculative_are_compatible does.

    Raises InvalidParameterError, which names the difference.
    """
    ours, theirs = model.tokenizer, draft.tokenizer
    if ours.vocab_type != theirs.vocab_type:
        raise _mismatch(f"its type is {theirs.vocab_type.name} and not {ours.vocab_type.name}")
    for what, a, b in (
        ("begins", _mark(ours.add_bos, ours.bos), _mark(theirs.add_bos, theirs.bos)),
        ("ends", _mark(ours.add_eos, ours.eos), _mark(theirs.add_eos, theirs.eos)),
    ):
        if a != b:
            raise _mismatch(f"it {what} texts with token {b} and not {a}")
    if abs(model.n_vocab - draft.n_vocab) > _MAX_SIZE_DIFFERENCE:
        raise _mismatch(f"it has {draft.n_vocab} tokens and not {model.n_vocab}")
    _check_tokens(ours, theirs, min(model.n_vocab, draft.n_vocab))


def _check_tokens(ours: Tokenizer, theirs: Tokenizer, n: int) -> None:
    for token in range(_FIRST_COMPARED, n):
        a, b = ours.text(token), theirs.text(token)
        if a != b:
            raise _mismatch(f"its token {token} is {b!r} and not {a!r}")


def _mark(is_added: bool, token: int | None) -> int | None:
    return token if is_added else None


def _mismatch(what: str) -> InvalidParameterError:
    return InvalidParameterError(
        "draft_model",
        f"the draft model's vocabulary differs from the model's: {what}; "
        "use a draft model of the same family",
    )
