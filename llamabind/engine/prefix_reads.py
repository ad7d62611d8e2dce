"""PrefixReads: the requests that wait while a prefix of their prompt is read from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array

    from llamabind.kv_cache.slot import Adapters
    from llamabind.scheduling.sequence import Sequence


class PrefixSource(Protocol):
    """Reads prefixes that an earlier process computed: llamabind.disk_cache."""

    def begin_read(self, request_id: str, tokens: array[int], adapters: Adapters) -> bool:
        """Begin to read a prefix of `tokens` that is longer than those in memory; engine thread.

        If True, the request waits until `EngineCore.admit_read` is called.
        """


class PrefixReads:
    """New sequences that are not queued yet. The engine needs no step for them."""

    def __init__(self) -> None:
        self.source: PrefixSource | None = None
        self._sequences: dict[str, Sequence] = {}

    def __len__(self) -> int:
        return len(self._sequences)

    def begin(self, sequence: Sequence) -> bool:
        """True if `sequence` should wait for a prefix that is being read."""
        if self.source is None or not sequence.may_reuse:
            return False
        request_id = sequence.request_id
        if not self.source.begin_read(request_id, sequence.tokens, sequence.adapters):
            return False
        self._sequences[request_id] = sequence
        return True

    def take(self, request_id: str) -> Sequence | None:
        """End the wait of a sequence and return it; None if no sequence of this id waits."""
        return self._sequences.pop(request_id, None)

    def clear(self) -> None:
        """Forget all sequences, which have ended."""
        self._sequences.clear()
