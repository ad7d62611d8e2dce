"""Admission: whether a waiting sequence fits into the free cells, and which prefix it reuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.slot import Prefix

if TYPE_CHECKING:
    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.scheduling.sequence import Sequence

LOOKAHEAD = 32
"""Cells that must be free for each running sequence when a new one starts, so that none of them is
preempted soon after.
"""


def find_prefix(slots: SlotPool, running: list[Sequence], candidate: Sequence) -> Prefix | None:
    """Return the longest prefix with which `candidate` fits; None if it does not fit now."""
    n_tokens, n_soon = len(candidate.tokens), _n_needed_soon(running, candidate)
    if not candidate.may_reuse:
        return Prefix() if slots.fits(Prefix(), n_tokens + n_soon) else None
    for restores in (True, False):
        prefix = slots.longest_prefix(candidate.tokens, candidate.adapters, restores=restores)
        if slots.fits(prefix, n_tokens - prefix.n + n_soon):
            return prefix
        if prefix.full is None:
            break
    return None


def _n_needed_soon(running: list[Sequence], candidate: Sequence) -> int:
    """Return the cells that will be needed soon, besides those for the prompt of `candidate`.

    They are for the rest of the running prompts, and for up to LOOKAHEAD tokens of each answer,
    including that of `candidate`.
    """
    if not running:
        return 0
    prompts = sum(sequence.n_remaining for sequence in running if not sequence.is_decoding)
    sequences = (*running, candidate)
    return prompts + sum(min(LOOKAHEAD, sequence.n_may_generate) for sequence in sequences)
