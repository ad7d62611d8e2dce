"""AdapterTurns: sequences with different LoRA scales take turns, since a decode has one set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.kv_cache.slot import Adapters
    from llamabind.scheduling.sequence import Sequence

TURN_STEPS = 8
"""Steps of one group of sequences before a group with other adapters continues.

llama.cpp applies adapters to a whole context, and after a change it plans its buffers again, which
takes as long as building two graphs. Longer turns would delay the tokens of the others.
"""


class AdapterTurns:
    """Chooses the adapters of the next step, so that no group of sequences waits for ever."""

    def __init__(self) -> None:
        self._current: Adapters | None = None
        self._n_left = 0
        self._n_turns = 0
        self._latest: dict[Adapters, int] = {}

    def order(self, running: Iterable[Sequence]) -> list[Adapters]:
        """Return the adapters of the running sequences, those whose turn it is first.

        The others follow in the order in which they had their latest turn.
        """
        groups = list(dict.fromkeys(sequence.adapters for sequence in running))
        self._latest = {group: self._latest.get(group, 0) for group in groups}
        if len(groups) > 1:
            groups.sort(key=lambda group: (not self._goes_on(group), self._latest[group]))
        return groups

    def take(self, adapters: Adapters) -> None:
        """Note that the next step computes sequences with these adapters."""
        if adapters != self._current or self._n_left == 0:
            self._current, self._n_left = adapters, TURN_STEPS
            self._n_turns += 1
            self._latest[adapters] = self._n_turns
        self._n_left -= 1

    def _goes_on(self, adapters: Adapters) -> bool:
        return adapters == self._current and self._n_left > 0
