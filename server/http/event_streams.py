"""EventStreams: bounds the streams of events that are open, and makes the text of an event once."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from server.errors import ApiError, TooManyStreamsError, UnavailableError
from server.models.admission import CALLER_OF_QUEUE

PER_CALLER: Final = 64
IN_ALL: Final = 512
"""Streams of events of one caller, and of all; each event takes about 50 microseconds of the event
loop for each of them.
"""

_RETRY_SECONDS: Final = 5
_KEPT_TEXTS: Final = 8


class EventStreams:
    """The open streams of events: of models, of loads, of downloads. Event loop only."""

    def __init__(self, per_caller: int = PER_CALLER, in_all: int = IN_ALL) -> None:
        self._per_caller = per_caller
        self._in_all = in_all
        self._counts: Counter[str] = Counter()
        self._texts: deque[tuple[Any, str, bytes]] = deque(maxlen=_KEPT_TEXTS)

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count a stream of the current caller while the context is open. Raises ApiError.

        When all are taken, a caller still gets an equal share of them.
        """
        caller = CALLER_OF_QUEUE.get()
        if (error := self._refusal(caller)) is not None:
            raise error
        self._counts[caller] += 1
        try:
            yield
        finally:
            self._counts[caller] -= 1
            if not self._counts[caller]:
                del self._counts[caller]

    def text(self, event: Any, dialect: str, make: Callable[[], bytes]) -> bytes:
        """An event as the text that `make` returns for a dialect.

        All streams get the same object, so its text is made for the first of them only.
        """
        for known, known_dialect, text in self._texts:
            if known is event and known_dialect == dialect:
                return text
        text = make()
        self._texts.append((event, dialect, text))
        return text

    def _refusal(self, caller: str) -> ApiError | None:
        n_own, n_all = self._counts[caller], self._counts.total()
        if n_own >= self._per_caller:
            return TooManyStreamsError(n_own, self._per_caller, _RETRY_SECONDS)
        share = self._in_all // len(self._counts.keys() | {caller})
        if n_all < self._in_all or n_own < share:
            return None
        return UnavailableError(
            f"{n_all} streams of events are open, the limit is {self._in_all}; close one, or retry "
            f"in {_RETRY_SECONDS} s",
            code="too_many_streams",
            retry_after=_RETRY_SECONDS,
        )
