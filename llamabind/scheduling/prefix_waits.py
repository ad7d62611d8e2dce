"""Which waiting sequences wait for a prefix that somebody computes right now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.prefix import common_prefix

if TYPE_CHECKING:
    from collections.abc import Collection

    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.scheduling.sequence import Sequence

MIN_SHARED_PREFIX = 32
"""Waiting for a prefix that somebody computes right now pays only if it is at least this much
longer.
"""


class PrefixWaits:
    """Remembers for whom each sequence waits, until that one has got so far or is gone."""

    def __init__(self, slots: SlotPool) -> None:
        self._slots = slots
        self._awaited: dict[Sequence, tuple[Sequence, int]] = {}

    def forget(self, sequence: Sequence) -> None:
        """`sequence` waits no longer."""
        self._awaited.pop(sequence, None)

    def is_awaiting(self, sequence: Sequence, running: Collection[Sequence]) -> bool:
        """Tell whether one of `running` computes a prefix of `sequence` that is worth waiting for.

        Asked again and again until it is not.
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
        # Where memory cannot be cut, what another has just computed comes by a checkpoint.
        can_share = self._slots.is_cuttable or self._slots.host.limit > 0
        if not can_share or not sequence.may_reuse:
            return None
        n_best = self._slots.longest_prefix(sequence.tokens).n
        best: tuple[Sequence, int] | None = None
        for producer in running:
            if producer.is_decoding:
                continue
            n = min(common_prefix(producer.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if n > producer.n_computed and n >= n_best + MIN_SHARED_PREFIX:
                best, n_best = (producer, n), n
        return best
