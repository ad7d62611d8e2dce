"""EmbeddingQueue: chooses the inputs of the next decode; pure Python."""

from __future__ import annotations

from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.embedding.config import EmbeddingShape

# The number of a caller's oldest inputs among which one is searched that fits into the batch.
_LOOK_AHEAD: Final = 32


class EmbeddingRequest:
    """The inputs of one call, and the future that gets one array for each, in their order.

    Cancelling the future drops the inputs that are still waiting.
    """

    def __init__(self, inputs: Sequence[Sequence[int]], caller: Hashable | None = None) -> None:
        self.inputs = inputs
        # With caller=None each request counts as a different caller.
        self.caller: Hashable = self if caller is None else caller
        self.future: Future[list[NDArray[np.float32]]] = Future()
        self._vectors: list[NDArray[np.float32] | None] = [None] * len(inputs)
        self._n_missing = len(inputs)

    def put(self, index: int, vector: NDArray[np.float32]) -> None:
        """Store the result of input `index`; the last missing one completes the future."""
        self._vectors[index] = vector
        self._n_missing -= 1
        if self._n_missing == 0 and self._may_complete():
            self.future.set_result([vector for vector in self._vectors if vector is not None])

    def fail(self, error: BaseException) -> None:
        """Complete the future with an error, unless it is cancelled or done."""
        if self._may_complete():
            self.future.set_exception(error)

    def _may_complete(self) -> bool:
        return not self.future.done() and self.future.set_running_or_notify_cancel()


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingItem:
    """One input of a request."""

    request: EmbeddingRequest
    index: int

    @property
    def tokens(self) -> Sequence[int]:
        """The token ids."""
        return self.request.inputs[self.index]


@dataclass(frozen=True, slots=True)
class EmbeddingChunk:
    """The tokens [start, end) of an item, computed as sequence `seq_id`."""

    item: EmbeddingItem
    start: int
    end: int
    seq_id: int

    @property
    def is_last(self) -> bool:
        """True if the chunk ends its item."""
        return self.end == len(self.item.tokens)


class EmbeddingQueue:
    """Packs waiting inputs into batches, one from each caller in turn.

    An input that does not fit the rest of a batch is passed over for a smaller one, but is the
    first in the next batch, so that none waits for ever. If inputs can be split (EmbeddingShape),
    at most one is unfinished between two batches.
    """

    def __init__(self, shape: EmbeddingShape) -> None:
        self._shape = shape
        self._waiting: OrderedDict[Hashable, deque[EmbeddingItem]] = OrderedDict()
        self._unfinished: EmbeddingChunk | None = None
        self.n_waiting = 0

    @property
    def has_work(self) -> bool:
        """True while inputs are waiting or one is unfinished."""
        return self.n_waiting > 0 or self._unfinished is not None

    def add(self, request: EmbeddingRequest) -> None:
        """Queue all inputs of a request; each has 1 to `n_input_max` tokens."""
        items = [EmbeddingItem(request, index) for index in range(len(request.inputs))]
        self._waiting.setdefault(request.caller, deque()).extend(items)
        self.n_waiting += len(items)

    def drop(self, request: EmbeddingRequest) -> None:
        """Remove the inputs of a request that are not computed yet."""
        items = self._waiting.pop(request.caller, None)
        if items is not None:
            kept = deque(item for item in items if item.request is not request)
            self.n_waiting -= len(items) - len(kept)
            if kept:
                self._waiting[request.caller] = kept
        if self._unfinished is not None and self._unfinished.item.request is request:
            self._unfinished = None

    def next_batch(self) -> list[EmbeddingChunk]:
        """Remove and return the inputs of the next decode; an unfinished one comes first."""
        chunks: list[EmbeddingChunk] = []
        n_left, cells = self._shape.n_batch, self._shape.n_cells
        seq_ids = iter(range(self._shape.n_seq_max))
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            chunks.append(self._cut(unfinished.item, unfinished.end, n_left, unfinished.seq_id))
            seq_ids = iter(set(seq_ids) - {unfinished.seq_id})
            cells -= len(unfinished.item.tokens)
            n_left -= chunks[0].end - chunks[0].start
        while n_left > 0 and (item := self._take(n_left, cells)) is not None:
            seq_id = next(seq_ids)
            chunks.append(self._cut(item, 0, n_left, seq_id))
            cells -= len(item.tokens)
            n_left -= chunks[-1].end
            if len(chunks) == self._shape.n_seq_max:
                break
        return chunks

    def all_requests(self) -> list[EmbeddingRequest]:
        """Return every unfinished request once."""
        items = [item for queue in self._waiting.values() for item in queue]
        if self._unfinished is not None:
            items.append(self._unfinished.item)
        return list(dict.fromkeys(item.request for item in items))

    def _cut(self, item: EmbeddingItem, start: int, n_most: int, seq_id: int) -> EmbeddingChunk:
        chunk = EmbeddingChunk(item, start, min(len(item.tokens), start + n_most), seq_id)
        if not chunk.is_last:
            self._unfinished = chunk
        return chunk

    def _take(self, n_left: int, cells: int) -> EmbeddingItem | None:
        """Remove and return the next input that fits `n_left` batch tokens and `cells` KV cells.

        Its caller goes to the end of the queue of callers.
        """
        callers = list(self._waiting.values())
        largest, look_ahead = n_left, _LOOK_AHEAD
        if self._shape.can_split:
            # A first part fits into any batch, so only cells limit the input. The first caller's
            # oldest input is not passed over, or it might never get enough cells.
            callers, largest, look_ahead = callers[:1], cells, 1
        for items in callers:
            for position, item in enumerate(islice(items, look_ahead)):
                if len(item.tokens) <= largest:
                    del items[position]
                    self._move_caller_to_end(item)
                    return item
        return None

    def _move_caller_to_end(self, item: EmbeddingItem) -> None:
        self.n_waiting -= 1
        caller = item.request.caller
        if self._waiting[caller]:
            self._waiting.move_to_end(caller)
        else:
            del self._waiting[caller]
