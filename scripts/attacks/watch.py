"""Watch: the latency of /live and /health, and the server's memory, while something runs."""

import threading
import time

from attacks.target import Target, Usage

PATHS = ("/live", "/health")
_PERIOD_SECONDS = 0.02


class Watch:
    """Measures while its block runs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ended = threading.Event()
        self.latencies: dict[str, list[float]] = {path: [] for path in PATHS}
        """Milliseconds of each request, from the connection to the end of the answer."""
        self.most_memory = 0
        self._threads = [threading.Thread(target=self._measure_memory)]
        self._threads += [threading.Thread(target=self._probe, args=(path,)) for path in PATHS]

    def __enter__(self) -> "Watch":
        self.before = Usage.of(self._target.process)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def percentile(self, path: str, percent: float = 99.0) -> float:
        """A percentile of the latencies; requests that failed count as infinite."""
        values = sorted(self.latencies[path])
        return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0

    def _measure_memory(self) -> None:
        while not self._ended.wait(_PERIOD_SECONDS):
            self.most_memory = max(self.most_memory, self._target.process.memory_info().rss)

    def _probe(self, path: str) -> None:
        while not self._ended.wait(_PERIOD_SECONDS):
            begun = time.monotonic()
            try:
                status, _ = self._target.client.request("GET", path)
            except OSError:
                status = 0
            taken = 1e3 * (time.monotonic() - begun)
            self.latencies[path].append(taken if status == 200 else float("inf"))
