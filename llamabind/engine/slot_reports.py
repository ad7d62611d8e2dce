"""SlotReport: the tokens that a slot holds and the request that runs in it, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.kv_cache.slot import Slot
    from llamabind.request import GenerationRequest
    from llamabind.scheduling.sequence import Sequence


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """A running request: `n_computed` prompt tokens are in the KV cache, `n_cached` of them reused.

    `n_remain` is how many more tokens it may generate.
    """

    request: GenerationRequest
    n_computed: int
    n_cached: int
    n_generated: int
    n_remain: int


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One slot: how many tokens it holds, and the request that runs in it, if any."""

    seq_id: int
    n_tokens: int
    running: SequenceReport | None


def report_slots(slots: Iterable[Slot], running: Iterable[Sequence]) -> tuple[SlotReport, ...]:
    """Describe each slot between two steps; `running` are all running sequences."""
    reports = {sequence.slot: _report(sequence) for sequence in running}
    return tuple(SlotReport(slot.seq_id, len(slot.tokens), reports.get(slot)) for slot in slots)


def _report(sequence: Sequence) -> SequenceReport:
    return SequenceReport(
        request=sequence.request,
        n_computed=min(sequence.n_computed, sequence.n_prompt),
        n_cached=sequence.n_cached,
        n_generated=sequence.n_generated,
        n_remain=sequence.n_may_generate,
    )
