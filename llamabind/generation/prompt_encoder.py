"""PromptEncoder: the tokens of prompts made of texts, tokens and media."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.chat.render_limit import check_limit
from llamabind.errors import PromptTooLongError
from llamabind.media.medium import lay_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llamabind.media.medium import EncodedMedium, Medium
    from llamabind.native.tokenizer import Tokenizer

_BYTES_PER_TOKEN = 16
"""Texts with at most this many bytes for each token of the context are tokenised without a
check of their length. The check needs the longest piece of the vocabulary, and finding it takes as
long as tokenising a long prompt.
"""


class PromptEncoder:
    """Tokenises the parts of prompts. Any thread."""

    def __init__(self, tokenizer: Tokenizer, n_ctx: int) -> None:
        self._tokenizer = tokenizer
        self.n_ctx = n_ctx

    def encode(self, parts: Sequence[int | str]) -> tuple[int, ...]:
        """Return the concatenated tokens; only a text at the start gets the vocabulary's BOS."""
        self._check_bytes(parts)
        tokens: list[int] = []
        for index, part in enumerate(parts):
            check_limit()
            if isinstance(part, str):
                tokens += self._encode(part, is_first=index == 0)
            else:
                tokens.append(part)
        return tuple(tokens)

    def lay_out(
        self, parts: Sequence[int | str | EncodedMedium]
    ) -> tuple[tuple[int, ...], tuple[Medium, ...]]:
        """Return the concatenated tokens of the parts, and the media; a text comes first."""
        self._check_bytes(parts)
        check_limit()
        # If the vocabulary adds a BOS, common/chat.cpp has removed it from the rendered prompt.
        return lay_out(
            self._encode(part, is_first=index == 0)
            if isinstance(part, str)
            else ((part,) if isinstance(part, int) else part)
            for index, part in enumerate(parts)
        )

    def check_size(self, lengths: Iterable[int]) -> None:
        """Refuse texts that cannot fit the context before time is spent on tokenising them.

        `lengths` are numbers of bytes, or of characters, which have at least a byte each.
        """
        n_bytes = sum(lengths)
        if n_bytes <= _BYTES_PER_TOKEN * self.n_ctx:
            return
        longest = self._tokenizer.longest_piece
        if longest is not None and n_bytes > longest * self.n_ctx:
            raise PromptTooLongError(n_bytes // longest, self.n_ctx, is_estimate=True)

    def _check_bytes(self, parts: Sequence[object]) -> None:
        texts = [part for part in parts if isinstance(part, str)]
        # A character has at most 4 bytes.
        if 4 * sum(map(len, texts)) > _BYTES_PER_TOKEN * self.n_ctx:
            self.check_size(len(text.encode(errors="replace")) for text in texts)

    def _encode(self, text: str, *, is_first: bool) -> list[int]:
        return self._tokenizer.encode(
            text, add_special=is_first, parse_special=True, check=check_limit
        )

    def control_tokens(self, texts: Iterable[str]) -> frozenset[int]:
        """Return those of `texts` that are one control token; others are plain text already."""
        encoded = [
            self._tokenizer.encode(text, add_special=False, parse_special=True) for text in texts
        ]
        return frozenset(tokens[0] for tokens in encoded if len(tokens) == 1)
