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
"""Minimum tokens of a prefix in a file, and by which a file must be longer than what is known."""

_MIN_SHARE: Final = 8
"""While requests come, a state is written only if this part of it (1/8) is in no file: a growing
conversation is not written anew with each turn. A state is not read for less of it either.
"""


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """A file with the state of exactly `tokens`, which have this process's pseudo-tokens of media.

    `key` as PrefixKeys.of; `n_bytes` is the file's size; `used_at` its last use in seconds.
    `is_partial` as StoredState's.
    """

    name: str
    key: bytes
    tokens: array[int]
    is_partial: bool
    n_bytes: int
    used_at: float = 0.0


class PrefixIndex:
    """The files of one model. Any thread; nothing here reads a disk.

    With `is_cuttable` a state can be cut to any shorter prefix. Otherwise a prefix ends where a
    state ends; `has_partial` states then hold the part that cannot be cut and need the cells of a
    longer whole state, which the others carry.
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
        """The size of all files of this model."""
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
        """Return the whole states with this key, the last used first."""
        with self._lock:
            entries = list(self._entries.values())
        whole = (entry for entry in entries if entry.key == key and not entry.is_partial)
        return sorted(whole, key=lambda entry: entry.used_at, reverse=True)

    def find(
        self, key: bytes, tokens: array[int], n_have: int, n_held: int
    ) -> tuple[PrefixEntry, ...]:
        """Return the files to read for a prompt, of which `n_have` tokens can be reused already.

        The first `n_held` of them are in the cells of a sequence. () if files have no prefix that
        is longer by 128 tokens and by an eighth of what would be read.
        """
        best: tuple[PrefixEntry, ...] = ()
        n_best = n_have + MIN_TOKENS - 1
        limit = len(tokens) - 1
        matches = list(self._matches(key, tokens))
        for entry, common in matches:
            n = last_border(tokens, min(common, limit))
            if not self._is_cuttable and n < len(entry.tokens):
                continue
            if n <= n_best or (n - n_have) * _MIN_SHARE < len(entry.tokens):
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
        """True if the state of `tokens` is worth a file; `is_last` before the end of the process.

        It must have 128 tokens that no file has, and unless `is_last` an eighth of its tokens.
        """
        n_known = max((n for _, n in self._known(key, tokens, is_partial)), default=0)
        n_new = len(tokens) - n_known
        if n_known == 0:
            return n_new >= MIN_TOKENS
        return n_new >= MIN_TOKENS and (is_last or n_new * _MIN_SHARE >= len(tokens))

    def covering(self, key: bytes, tokens: array[int], *, is_partial: bool = False) -> list[str]:
        """Return the names of the files with which `tokens` are known: they were used now."""
        return [entry.name for entry, _ in self._known(key, tokens, is_partial)]

    def superseded(self, entry: PrefixEntry) -> list[str]:
        """Return the names of the files that are of no use beside `entry`: its prefixes."""
        if entry.is_partial or not (self._is_cuttable or self._has_partial):
            return []
        return [
            other.name
            for other, n in self._matches(entry.key, entry.tokens)
            if n == len(other.tokens) and not other.is_partial and other.name != entry.name
        ]

    def _known(
        self, key: bytes, tokens: array[int], is_partial: bool
    ) -> Iterator[tuple[PrefixEntry, int]]:
        """Yield the files that have a prefix of `tokens` which can be reused, and its length."""
        # Whole states that only carry cells for partial ones can be cut.
        is_cuttable = self._is_cuttable or (self._has_partial and not is_partial)
        for entry, n in self._matches(key, tokens):
            if entry.is_partial == is_partial and (is_cuttable or n == len(entry.tokens)):
                yield entry, n

    def _matches(self, key: bytes, tokens: array[int]) -> Iterator[tuple[PrefixEntry, int]]:
        """Yield the files that begin as `tokens`, and how many tokens they share."""
        with self._lock:
            entries = list(self._groups.get(_group(key, tokens), {}).values())
        for entry in entries:
            yield entry, common_prefix(entry.tokens, tokens)


def _group(key: bytes, tokens: array[int]) -> tuple[bytes, bytes]:
    return key, tokens[:MIN_TOKENS].tobytes()
