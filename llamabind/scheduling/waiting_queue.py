"""The sequences that wait for a seat, in the order in which they are due."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamabind.scheduling.sequence import Sequence


class WaitingQueue:
    """First come, first served for each caller, and turn by turn between callers.

    One caller's hundred requests do not keep another's single one waiting: whoever was served goes
    to the end of the round. A lower priority goes before any higher one. Parked sequences come
    before everybody, the oldest first: they were running already.
    """

    def __init__(self) -> None:
        self._rounds: dict[int, OrderedDict[str, deque[Sequence]]] = {}
        self._preempted: list[Sequence] = []

    @property
    def has_preempted(self) -> bool:
        """True if a sequence waits that was running already."""
        return bool(self._preempted)

    def __len__(self) -> int:
        queues = (queue for callers in self._rounds.values() for queue in callers.values())
        return len(self._preempted) + sum(map(len, queues))

    def __iter__(self) -> Iterator[Sequence]:
        """Yield all in the order in which they are due; the queue must not change meanwhile."""
        yield from self._preempted
        for _, callers in sorted(self._rounds.items()):
            yield from _turn_by_turn([iter(queue) for queue in callers.values()])

    def append(self, sequence: Sequence) -> None:
        """Queue a new sequence behind its caller's others."""
        request = sequence.request
        callers = self._rounds.setdefault(request.priority, OrderedDict())
        callers.setdefault(request.caller, deque()).append(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Queue a sequence that lost its seat."""
        self._preempted.append(sequence)
        self._preempted.sort(key=lambda preempted: preempted.arrival)

    def take(self, sequence: Sequence) -> None:
        """Remove a sequence because it gets a seat: its caller's turn is over."""
        self.remove(sequence)
        request = sequence.request
        callers = self._rounds.get(request.priority)
        if callers and request.caller in callers:
            callers.move_to_end(request.caller)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence, wherever it waits."""
        if sequence in self._preempted:
            self._preempted.remove(sequence)
            return
        request = sequence.request
        callers = self._rounds[request.priority]
        queue = callers[request.caller]
        queue.remove(sequence)
        if not queue:
            del callers[request.caller]
        if not callers:
            del self._rounds[request.priority]


def _turn_by_turn(queues: list[Iterator[Sequence]]) -> Iterator[Sequence]:
    """Yield one of each in turn until all are empty."""
    while queues:
        still: list[Iterator[Sequence]] = []
        for queue in queues:
            sequence = next(queue, None)
            if sequence is not None:
                yield sequence
                still.append(queue)
        queues = still
