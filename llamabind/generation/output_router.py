"""OutputRouter: passes the outputs of a step to the callers of its requests; pure Python."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.request import RequestOutput

Sink = Callable[[list["RequestOutput"]], object]


class OutputRouter:
    """Maps request ids to the sinks of their outputs. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: dict[str, Sink] = {}

    def open(self, request_id: str, sink: Sink) -> None:
        """Send the outputs of a request to `sink`, which must not block, until its last one."""
        with self._lock:
            self._sinks[request_id] = sink

    def close(self, request_id: str) -> None:
        """Drop the outputs of a request from now on; unknown ids are ignored."""
        with self._lock:
            self._sinks.pop(request_id, None)

    def deliver(self, outputs: list[RequestOutput]) -> None:
        """Call each sink once, with all of a step's outputs that are for it."""
        batches: dict[Sink, list[RequestOutput]] = {}
        with self._lock:
            for output in outputs:
                sink = self._sinks.get(output.request_id)
                if sink is not None:
                    batches.setdefault(sink, []).append(output)
                if output.finish_reason is not None:
                    self._sinks.pop(output.request_id, None)
        for sink, batch in batches.items():
            sink(batch)
