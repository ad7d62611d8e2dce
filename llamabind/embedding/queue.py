"""EmbeddingQueue: which inputs the next decode computes; pure Python."""

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

# How many inputs of one caller are looked at for one that fits the rest of a batch.
_LOOK_AHEAD: Final = 32


class EmbeddingRequest:
    """The inputs of one call, and the future that gets one array for each, in their order.

    Until it is answered the future can be cancelled: inputs that still wait are never computed.
    """

    def __init__(self, inputs: Sequence[Sequence[int]], caller: Hashable | None = None) -> None:
        self.inputs = inputs
        # Without a key a call is a caller of its own.
        self.caller: Hashable = self if caller is None else caller
        self.future: Future[list[NDArray[np.float32]]] = Future()
        self._vectors: list[NDArray[np.float32] | None] = [None] * len(inputs)
        self._n_missing = len(inputs)

    def put(self, index: int, vector: NDArray[np.float32]) -> None:
        """Take the array of input `index`; the last one answers the future."""
        self._vectors[index] = vector
        self._n_missing -= 1
        if self._n_missing == 0 and self._is_wanted():
            self.future.set_result([vector for vector in self._vectors if vector is not None])

    def fail(self, error: BaseException) -> None:
        """Answer the future with an error, unless it was cancelled or answered."""
        if self._is_wanted():
            self.future.set_exception(error)

    def _is_wanted(self) -> bool:
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
        """Whether the item is complete after this chunk."""
        return self.end == len(self.item.tokens)


class EmbeddingQueue:
    """Packs waiting inputs into batches: turn by turn between callers, and into gaps what fits.

    Whoever was passed over because its input did not fit goes first in the next batch, so nothing
    waits for ever. At most one input is unfinished between two batches (EmbeddingShape.can_split).
    """

    def __init__(self, shape: EmbeddingShape) -> None:
        self._shape = shape
        self._waiting: OrderedDict[Hashable, deque[EmbeddingItem]] = OrderedDict()
        self._unfinished: EmbeddingChunk | None = None
        self.n_waiting = 0

    @property
    def has_work(self) -> bool:
        """True while anything is to be computed."""
        return self.n_waiting > 0 or self._unfinished is not None

    def add(self, request: EmbeddingRequest) -> None:
        """Queue all inputs of a request; each has 1 to `n_input_max` tokens."""
        items = [EmbeddingItem(request, index) for index in range(len(request.inputs))]
        self._waiting.setdefault(request.caller, deque()).extend(items)
        self.n_waiting += len(items)

    def drop(self, request: EmbeddingRequest) -> None:
        """Forget what is not yet computed of a request."""
        items = self._waiting.pop(request.caller, None)
        if items is not None:
            kept = deque(item for item in items if item.request is not request)
            self.n_waiting -= len(items) - len(kept)
            if kept:
                self._waiting[request.caller] = kept
        if self._unfinished is not None and self._unfinished.item.request is request:
            self._unfinished = None

    def next_batch(self) -> list[EmbeddingChunk]:
        """Take out the inputs of the next decode; an unfinished one comes first."""
        chunks: list[EmbeddingChunk] = []
        room, cells = self._shape.n_batch, self._shape.n_cells
        seq_ids = iter(range(self._shape.n_seq_max))
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            chunks.append(self._cut(unfinished.item, unfinished.end, room, unfinished.seq_id))
            seq_ids = iter(set(seq_ids) - {unfinished.seq_id})
            cells -= len(unfinished.item.tokens)
            room -= chunks[0].end - chunks[0].start
        while room > 0 and (item := self._take(room, cells)) is not None:
            seq_id = next(seq_ids)
            chunks.append(self._cut(item, 0, room, seq_id))
            cells -= len(item.tokens)
            room -= chunks[-1].end
            if len(chunks) == self._shape.n_seq_max:
                break
        return chunks

    def all_requests(self) -> list[EmbeddingRequest]:
        """Return every request that is not answered, each once."""
        items = [item for queue in self._waiting.values() for item in queue]
        if self._unfinished is not None:
            items.append(self._unfinished.item)
        return list(dict.fromkeys(item.request for item in items))

    def _cut(self, item: EmbeddingItem, start: int, room: int, seq_id: int) -> EmbeddingChunk:
        chunk = EmbeddingChunk(item, start, min(len(item.tokens), start + room), seq_id)
        if not chunk.is_last:
            self._unfinished = chunk
        return chunk

    def _take(self, room: int, cells: int) -> EmbeddingItem | None:
        """Remove and return the next input that fits; its caller's turn is over."""
        callers = list(self._waiting.values())
        largest, look_ahead = room, _LOOK_AHEAD
        if self._shape.can_split:
            # Any room will do for a beginning, but nobody overtakes the one that waits for cells.
            callers, largest, look_ahead = callers[:1], cells, 1
        for items in callers:
            for position, item in enumerate(islice(items, look_ahead)):
                if len(item.tokens) <= largest:
                    del items[position]
                    self._end_turn(item)
                    return item
        return None

    def _end_turn(self, item: EmbeddingItem) -> None:
        self.n_waiting -= 1
        caller = item.request.caller
        if self._waiting[caller]:
            self._waiting.move_to_end(caller)
        else:
            del self._waiting[caller]
