"""PrefixWaits: lets a sequence wait until a running one has computed their common prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.prefix import common_prefix

if TYPE_CHECKING:
    from collections.abc import Collection

    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.scheduling.sequence import Sequence

MIN_SHARED_PREFIX = 32
"""Wait only for a prefix that is at least this many tokens longer than the one available now."""


class PrefixWaits:
    """Remembers which running sequence each waiting one waits for, and for how many tokens."""

    def __init__(self, slots: SlotPool) -> None:
        self._slots = slots
        self._awaited: dict[Sequence, tuple[Sequence, int]] = {}

    def forget(self, sequence: Sequence) -> None:
        """Remove a sequence that has ended or was cancelled."""
        self._awaited.pop(sequence, None)

    def is_awaiting(self, sequence: Sequence, running: Collection[Sequence]) -> bool:
        """True while a running sequence is computing a prefix that `sequence` should wait for.

        The scheduler calls it in each step; it starts the sequence once this is False.
        """
        awaited = self._awaited.get(sequence)
        if awaited is None:
            awaited = self._find(sequence, running)
            if awaited is None:
                return False
            self._awaited[sequence] = awaited
        producer, n = awaited
        if producer in running and producer.n_computed < n:
            return True
        del self._awaited[sequence]
        return False

    def _find(
        self, sequence: Sequence, running: Collection[Sequence]
    ) -> tuple[Sequence, int] | None:
        # If memory cannot be cut, a prefix can be shared only as a checkpoint in the host cache.
        can_share = self._slots.is_cuttable or self._slots.host.limit > 0
        if not can_share or not sequence.may_reuse:
            return None
        n_best = self._slots.longest_prefix(sequence.tokens, sequence.adapters).n
        best: tuple[Sequence, int] | None = None
        for producer in running:
            if producer.is_decoding or producer.adapters != sequence.adapters:
                continue
            n = min(common_prefix(producer.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if n > producer.n_computed and n >= n_best + MIN_SHARED_PREFIX:
                best, n_best = (producer, n), n
        return best
