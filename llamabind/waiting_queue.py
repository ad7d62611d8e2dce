"""The sequences that wait for a seat, in the order in which they are due."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamabind.sequence import Sequence


class WaitingQueue:
    """First come, first served for each caller, and turn by turn between callers.

    One caller's hundred requests do not keep another's single one waiting: whoever was served goes
    to the end of the round. Parked sequences come before everybody, the oldest first: they were
    running already.
    """

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[Sequence]] = OrderedDict()
        self._parked: list[Sequence] = []

    def __len__(self) -> int:
        return len(self._parked) + sum(len(queue) for queue in self._callers.values())

    def __iter__(self) -> Iterator[Sequence]:
        """Yield all sequences in the order in which they are due; the queue must not change
        meanwhile.
        """
        yield from self._parked
        queues = [iter(queue) for queue in self._callers.values()]
        while queues:
            still: list[Iterator[Sequence]] = []
            for queue in queues:
                sequence = next(queue, None)
                if sequence is not None:
                    yield sequence
                    still.append(queue)
            queues = still

    def append(self, sequence: Sequence) -> None:
        """Queue a new sequence behind its caller's others."""
        self._callers.setdefault(sequence.request.caller, deque()).append(sequence)

    def park(self, sequence: Sequence) -> None:
        """Queue a sequence that lost its seat."""
        self._parked.append(sequence)
        self._parked.sort(key=lambda parked: parked.arrival)

    def take(self, sequence: Sequence) -> None:
        """Remove a sequence because it gets a seat: its caller's turn is over."""
        self.remove(sequence)
        caller = sequence.request.caller
        if caller in self._callers:
            self._callers.move_to_end(caller)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence, wherever it waits."""
        if sequence in self._parked:
            self._parked.remove(sequence)
            return
        caller = sequence.request.caller
        queue = self._callers[caller]
        queue.remove(sequence)
        if not queue:
            del self._callers[caller]
