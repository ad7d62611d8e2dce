"""WaitingQueue: the sequences that wait for a slot, in the order in which they start."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamabind.scheduling.sequence import Sequence


class WaitingQueue:
    """First in, first out for each caller, and round robin between callers.

    A caller whose sequence has started goes to the end of the round, so a hundred requests of one
    caller do not delay the single request of another. Lower `priority` values start first.
    Preempted sequences start before all others, the oldest first.
    """

    def __init__(self) -> None:
        self._rounds: dict[int, OrderedDict[str, deque[Sequence]]] = {}
        self._preempted: list[Sequence] = []

    def __len__(self) -> int:
        queues = (queue for callers in self._rounds.values() for queue in callers.values())
        return len(self._preempted) + sum(map(len, queues))

    def __iter__(self) -> Iterator[Sequence]:
        """Yield all sequences in starting order; the queue must not change meanwhile."""
        yield from self._preempted
        for _, callers in sorted(self._rounds.items()):
            yield from _round_robin([iter(queue) for queue in callers.values()])

    def append(self, sequence: Sequence) -> None:
        """Queue a new sequence after the others of its caller."""
        request = sequence.request
        callers = self._rounds.setdefault(request.priority, OrderedDict())
        callers.setdefault(request.caller, deque()).append(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Queue a sequence that has lost its slot."""
        self._preempted.append(sequence)
        self._preempted.sort(key=lambda preempted: preempted.arrival)

    def take(self, sequence: Sequence) -> None:
        """Remove a sequence that starts, and move its caller to the end of the round."""
        self.remove(sequence)
        request = sequence.request
        callers = self._rounds.get(request.priority)
        if callers and request.caller in callers:
            callers.move_to_end(request.caller)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence that was cancelled or timed out; its caller keeps its position."""
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


def _round_robin(queues: list[Iterator[Sequence]]) -> Iterator[Sequence]:
    """Yield one sequence from each queue in turn until all are empty."""
    while queues:
        remaining: list[Iterator[Sequence]] = []
        for queue in queues:
            sequence = next(queue, None)
            if sequence is not None:
                yield sequence
                remaining.append(queue)
        queues = remaining
