"""Admission control: limits the requests that wait for a model, and counts how each one ended.

The queue is shared fairly between callers: see Admission.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from server.errors import QueueFullError
from server.metrics import ServerMetrics
from server.streams.request_meter import RequestMeter
from server.streams.token_stream import TokenStream

_KEPT_ENDS = 64
_RECENT_SECONDS = 60.0
_DEFAULT_RETRY_SECONDS = 5
_MAX_RETRY_SECONDS = 120

CALLER_OF_QUEUE: ContextVar[str] = ContextVar("CALLER_OF_QUEUE", default="")
"""The client that the current task works for, as server.http.access names it: by its API key, or
by its address. Clients cannot choose it, unlike the names in logs.
"""


class ModelAdmission:
    """One model's requests: their number, and the rate at which they end. Event loop only."""

    def __init__(self) -> None:
        self.n_requests = 0
        self._streams: dict[str, set[TokenStream]] = {}
        self._ends: deque[float] = deque(maxlen=_KEPT_ENDS)

    @property
    def n_paused(self) -> int:
        """Requests that are paused because their clients read slowly; they wait for nothing."""
        return sum(map(_n_paused, self._streams.values()))

    def n_of(self, caller: str) -> int:
        """The caller's requests, running and waiting."""
        streams = self._streams.get(caller, set())
        return len(streams) - _n_paused(streams)

    def n_waiting_of(self, caller: str, n_parallel: int) -> int:
        """How many of the caller's requests wait: those that have no token yet, and at least those
        beyond `n_parallel` (a preempted request waits but has tokens).
        """
        streams = self._streams.get(caller, ())
        n_without_token = sum(stream.first_token_at is None for stream in streams)
        return max(n_without_token, self.n_of(caller) - n_parallel)

    def share(self, caller: str, limit: int) -> int:
        """The caller's share of `limit` requests, equal for all callers that have requests."""
        return limit // len(self._streams.keys() | {caller})

    @contextmanager
    def count(self, caller: str, stream: TokenStream) -> Iterator[None]:
        """Count a request of `caller` for as long as the context is open."""
        streams = self._streams.setdefault(caller, set())
        streams.add(stream)
        self.n_requests += 1
        try:
            yield
        finally:
            streams.remove(stream)
            if not streams:
                del self._streams[caller]
            self.record_end()

    def record_end(self) -> None:
        """Count a request that has ended."""
        self.n_requests -= 1
        self._ends.append(time.monotonic())

    def seconds_for(self, n_requests: int) -> int:
        """Seconds until `n_requests` have ended, at the rate of the last minute.

        5 if the rate is unknown; 1 to 120.
        """
        recent = [end for end in self._ends if end > time.monotonic() - _RECENT_SECONDS]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return _DEFAULT_RETRY_SECONDS
        seconds = n_requests * (recent[-1] - recent[0]) / (len(recent) - 1)
        return max(1, min(math.ceil(seconds), _MAX_RETRY_SECONDS))


def _n_paused(streams: Iterable[TokenStream]) -> int:
    return sum(stream.pending.is_paused for stream in streams)


class Admission:
    """Admits up to `max_queue` requests per model beyond those it runs at once. Event loop only.

    Requests that are paused because their clients read slowly are not among these: they have no
    slot, and their number is limited by that of the connections.

    One caller may use the whole queue while no other needs it. When the queue is full, a caller
    is still admitted if it has no request waiting, or fewer requests than an equal share of the
    limit; other callers are refused. The requests of `k` callers together are then at most about
    (1 + 1/2 + ... + 1/k) times the limit. With `max_queue` 0 no request waits at all.
    """

    def __init__(self, metrics: ServerMetrics, max_queue: int) -> None:
        self._metrics = metrics
        self._max_queue = max_queue
        self._models: dict[str, ModelAdmission] = {}

    def n_requests(self, model_id: str) -> int:
        """Requests for a model that run, are queued, or wait for its load."""
        admission = self._models.get(model_id)
        return admission.n_requests if admission else 0

    @contextmanager
    def request(self, model_id: str, n_parallel: int | None, stream: TokenStream) -> Iterator[None]:
        """Count one request for as long as the context is open. Raises QueueFullError.

        `n_parallel` is the number of requests the model runs at once, None while it is not loaded.
        """
        admission = self._models.setdefault(model_id, ModelAdmission())
        self._metrics.received.labels(model_id).inc()
        caller = CALLER_OF_QUEUE.get()
        self._require_free_queue(model_id, admission, n_parallel, caller)
        meter = RequestMeter(self._metrics.model(model_id), stream)
        failure: BaseException | None = None
        with admission.count(caller, stream):
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                self._metrics.requests.labels(model_id, meter.end(failure)).inc()

    def _require_free_queue(
        self, model_id: str, admission: ModelAdmission, n_parallel: int | None, caller: str
    ) -> None:
        # Admit one request even with max_queue 0: a request is what starts the load.
        limit = max(1, self._max_queue) if n_parallel is None else n_parallel + self._max_queue
        n_own_waiting = admission.n_waiting_of(caller, n_parallel or 0)
        is_entitled = n_own_waiting == 0 or admission.n_of(caller) < admission.share(caller, limit)
        if admission.n_requests < limit or (is_entitled and self._max_queue > 0):
            return
        n_active = admission.n_requests - admission.n_paused
        if n_active < limit:
            return
        n_waiting = n_active - (n_parallel or 0)
        reason = "load_queue_full" if n_parallel is None else "queue_full"
        self._metrics.refused.labels(model_id, reason).inc()
        raise QueueFullError(
            model_id,
            n_waiting,
            self._max_queue,
            admission.seconds_for(max(1, n_waiting)),
            n_own_waiting,
        )
