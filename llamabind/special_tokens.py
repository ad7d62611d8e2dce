"""SpecialTokens: the ids of a vocabulary's tokens that have a meaning of their own."""

from dataclasses import dataclass, fields
from typing import Self

from llamabind._capi import llama
from llamabind._capi.types import VocabHandle


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
        """Ask llama_vocab_bos and its siblings of llama.h."""
        ids = (getattr(llama, f"llama_vocab_{field.name}")(vocab) for field in fields(cls))
        return cls(*(None if token < 0 else token for token in ids))
