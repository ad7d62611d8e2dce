"""PrefixIndex: which prefixes are in files, and which others are worth a file."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llamabind.kv_cache.prefix import common_prefix
from llamabind.media.positions import last_border

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

MIN_TOKENS: Final = 128
"""Minimum tokens of a prefix in a file, and minimum new tokens that a further file must add."""

_MIN_SPACING: Final = 32
"""As in checkpoint_planner: recomputing fewer tokens is as fast as restoring a state."""

_MIN_SHARE: Final = 8
"""Before the engine ends, a state is written only if at least 1/8 of its tokens are in no file, so
that a growing conversation is not written again at each turn.
"""

_MIN_READ_SHARE: Final = 32
"""A state is read only if it saves at least 1/32 of its tokens: for fewer, computing them is faster
than reading the file.
"""


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """A file with the state of exactly `tokens`, with this process's pseudo-tokens of media.

    `key` is that of PrefixKeys.of; `n_bytes` is the file's size; `used_at` is its last use, in
    seconds since the epoch. `is_partial` means the same as in StoredState.
    """

    name: str
    key: bytes
    tokens: array[int]
    is_partial: bool
    n_bytes: int
    used_at: float = 0.0


class PrefixIndex:
    """The files of one model. Any thread; nothing here reads a disk.

    With `is_cuttable` a state can be cut to any shorter prefix. Otherwise a state serves only the
    prefix at its end. With `has_partial` there are partial states too: they hold only the part of
    the memory that cannot be cut, and also need the cells of a longer whole state.
    """

    def __init__(self, *, is_cuttable: bool, has_partial: bool = False) -> None:
        self._is_cuttable = is_cuttable
        self._has_partial = has_partial
        self._lock = threading.Lock()
        self._entries: dict[str, PrefixEntry] = {}
        # By key and first tokens: prompts that begin differently are not compared.
        self._groups: dict[tuple[bytes, bytes], dict[str, PrefixEntry]] = {}

    @property
    def n_bytes(self) -> int:
        """The size in bytes of all files of this model."""
        with self._lock:
            return sum(entry.n_bytes for entry in self._entries.values())

    @property
    def names(self) -> set[str]:
        """The names of the files."""
        with self._lock:
            return set(self._entries)

    def add(self, entry: PrefixEntry) -> None:
        """Add a file, or replace the one of the same name."""
        with self._lock:
            self._entries[entry.name] = entry
            self._groups.setdefault(_group(entry.key, entry.tokens), {})[entry.name] = entry

    def remove(self, name: str) -> None:
        """Remove a file; unknown names are ignored."""
        with self._lock:
            entry = self._entries.pop(name, None)
            if entry is not None:
                group = _group(entry.key, entry.tokens)
                del self._groups[group][name]
                if not self._groups[group]:
                    del self._groups[group]

    def latest(self, key: bytes) -> list[PrefixEntry]:
        """Return the whole states with this key, most recently used first, without those that are
        prefixes of another state.
        """
        with self._lock:
            entries = list(self._entries.values())
        ends = [
            entry
            for entry in entries
            if entry.key == key and not entry.is_partial and not self._is_prefix(entry)
        ]
        return sorted(ends, key=lambda entry: entry.used_at, reverse=True)

    def may_have(self, key: bytes, tokens: array[int]) -> bool:
        """True if a file begins like `tokens`; cheap, since no further tokens are compared."""
        with self._lock:
            return _group(key, tokens) in self._groups

    def find(
        self, key: bytes, tokens: array[int], n_have: int, n_held: int
    ) -> tuple[PrefixEntry, ...]:
        """Return the files to read for a prompt, of which `n_have` tokens can be reused already.

        The cells of a sequence hold the first `n_held` of them. Returns () unless a file adds at
        least 128 tokens, or 32 if the memory cannot be cut, and at least 1/32 of the tokens that
        would be read.
        """
        best: tuple[PrefixEntry, ...] = ()
        n_best = n_have + (MIN_TOKENS if self._is_cuttable else _MIN_SPACING) - 1
        limit = len(tokens) - 1
        matches = list(self._matches(key, tokens))
        for entry, common in matches:
            n = last_border(tokens, min(common, limit))
            if not self._is_cuttable and n < len(entry.tokens):
                continue
            if n <= n_best or (n - n_have) * _MIN_READ_SHARE < len(entry.tokens):
                continue
            if not entry.is_partial or n_held >= n:
                best, n_best = (entry,), n
                continue
            carriers = [other for other, m in matches if m >= n and not other.is_partial]
            if carriers:
                best, n_best = (min(carriers, key=lambda other: len(other.tokens)), entry), n
        return best

    def lacks(
        self, key: bytes, tokens: array[int], *, is_partial: bool = False, is_last: bool = False
    ) -> bool:
        """True if the state of `tokens` is worth a file; `is_last`: the process is about to end.

        At least 128 tokens must be in no file, and unless `is_last` at least an eighth of all
        tokens. If the memory cannot be cut, 32 tokens are enough with `is_last`: the same prompt
        continues from its last checkpoint.
        """
        n_known = max((n for _, n in self._known(key, tokens, is_partial)), default=0)
        n_new = len(tokens) - n_known
        if n_known == 0:
            return n_new >= MIN_TOKENS
        if is_last:
            return n_new >= (MIN_TOKENS if self._cuts(is_partial) else _MIN_SPACING)
        return n_new >= MIN_TOKENS and n_new * _MIN_SHARE >= len(tokens)

    def covering(self, key: bytes, tokens: array[int], *, is_partial: bool = False) -> list[str]:
        """Return the names of the files that hold a prefix of `tokens`; these count as used now."""
        return [entry.name for entry, _ in self._known(key, tokens, is_partial)]

    def superseded(self, entry: PrefixEntry) -> list[str]:
        """Return the names of the files that `entry` makes superfluous: files with fewer than 128
        tokens that `entry` lacks, such as an earlier turn of the same conversation.
        """
        if not self._cuts(entry.is_partial):
            return []
        return [
            other.name
            for other, n in self._matches(entry.key, entry.tokens)
            if len(other.tokens) - n < MIN_TOKENS
            and not other.is_partial
            and other.name != entry.name
        ]

    def _is_prefix(self, entry: PrefixEntry) -> bool:
        n_tokens = len(entry.tokens)
        return any(
            n == n_tokens < len(other.tokens) and not other.is_partial
            for other, n in self._matches(entry.key, entry.tokens)
        )

    def _cuts(self, is_partial: bool) -> bool:
        """True if states of this kind can be cut, as whole states can that carry the cells of
        partial states.
        """
        return self._is_cuttable or (self._has_partial and not is_partial)

    def _known(
        self, key: bytes, tokens: array[int], is_partial: bool
    ) -> Iterator[tuple[PrefixEntry, int]]:
        """Yield each file with a reusable prefix of `tokens`, and the length of that prefix."""
        is_cuttable = self._cuts(is_partial)
        for entry, n in self._matches(key, tokens):
            if entry.is_partial == is_partial and (is_cuttable or n == len(entry.tokens)):
                yield entry, n

    def _matches(self, key: bytes, tokens: array[int]) -> Iterator[tuple[PrefixEntry, int]]:
        """Yield the files that begin like `tokens`, and the number of tokens they share."""
        with self._lock:
            entries = list(self._groups.get(_group(key, tokens), {}).values())
        for entry in entries:
            yield entry, common_prefix(entry.tokens, tokens)


def _group(key: bytes, tokens: array[int]) -> tuple[bytes, bytes]:
    return key, tokens[:MIN_TOKENS].tobytes()
