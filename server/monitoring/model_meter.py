"""ModelMeter: counts loads, unloads and crashes for /metrics."""

from server.metrics import ServerMetrics
from server.models.events import ModelEvent, StateChanged, WorkerCrashed
from server.models.state import ModelState

_BEFORE_LOADED = (ModelState.QUEUED, ModelState.LOADING)
_IN_MEMORY = (ModelState.LOADED, ModelState.DRAINING)


class ModelMeter:
    """A listener of the event bus. Event loop only."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics

    def on_event(self, event: ModelEvent) -> None:
        """Count an event, if there is a metric for it."""
        match event:
            case StateChanged(status=ModelState.LOADED):
                self._metrics.load_seconds.labels(event.model).observe(event.seconds or 0.0)
                self._metrics.loads.labels(event.model, "loaded").inc()
            case StateChanged(previous=previous) if previous in _BEFORE_LOADED:
                self._end_load(event)
            case StateChanged(previous=previous) if previous in _IN_MEMORY:
                self._leave_memory(event)
            case WorkerCrashed():
                self._metrics.crashes.labels(event.model).inc()
            case _:
                pass

    def _end_load(self, event: StateChanged) -> None:
        if event.status == ModelState.FAILED:
            self._metrics.loads.labels(event.model, event.reason or "unknown").inc()
        elif event.status not in _BEFORE_LOADED:
            self._metrics.loads.labels(event.model, "cancelled").inc()

    def _leave_memory(self, event: StateChanged) -> None:
        if event.status not in _IN_MEMORY:
            self._metrics.unloads.labels(event.model, event.reason or "unknown").inc()
