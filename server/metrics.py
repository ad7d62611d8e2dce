"""ServerMetrics: the counters and histograms of /metrics, in a registry of their own.

Names and units follow Prometheus' conventions; every series of a model has the label `model`.
Gauges, which are read at each scrape, are in server.monitoring.collector.
"""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LOADS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class ModelSeries:
    """The series of one model that change with every token, looked up once."""

    prompt_tokens: Counter
    cached_tokens: Counter
    generated_tokens: Counter
    first_token: Histogram
    inter_token: Histogram
    queue: Histogram
    prompt: Histogram
    decode: Histogram
    request: Histogram


class ServerMetrics:
    """The counters and histograms of the server. Event loop only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests that ended, by outcome", ("outcome",))
        self.refused = self._counter(
            "requests_refused", "Requests refused with 429, by the queue that was full", ("reason",)
        )
        self.received = self._counter("requests_received", "Requests for an existing model")
        self.loads = self._counter(
            "model_loads",
            'Loads that ended, by result: "loaded", or the reason of the failure',
            ("result",),
        )
        self.unloads = self._counter("model_unloads", "Model unloads, by reason", ("reason",))
        self.crashes = self._counter("worker_crashes", "Worker processes that died unexpectedly")
        self.load_seconds = self._histogram("load_seconds", "Duration of a load", _LOADS)
        self.download_bytes = Counter(
            "llamabind_download_bytes",
            "Bytes received from the hub",
            registry=self.registry,
        )
        self.downloads = Counter(
            "llamabind_downloads",
            "Downloads that ended, by state: completed, failed or cancelled",
            ("state",),
            registry=self.registry,
        )
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens computed")
        self.cached_tokens = self._counter(
            "cached_tokens", "Prompt tokens reused from the KV cache"
        )
        self.generated_tokens = self._counter("generated_tokens", "Tokens generated")
        self._first_token = self._histogram(
            "time_to_first_token_seconds",
            "Time from a request's arrival to its first token",
            _WAITS,
        )
        self._inter_token = self._histogram(
            "inter_token_seconds", "Time between consecutive tokens of an answer", _GAPS
        )
        self._queue = self._histogram("queue_seconds", "Time in the engine's queue", _WAITS)
        self.prompt_seconds = self._histogram("prompt_seconds", "Time to compute a prompt", _WAITS)
        self.decode_seconds = self._histogram(
            "decode_seconds", "Time to generate an answer after its prompt", _WAITS
        )
        self._request = self._histogram(
            "request_seconds", "Time from a request's arrival to its last token", _WAITS
        )
        self._models: dict[str, ModelSeries] = {}

    def model(self, model_id: str) -> ModelSeries:
        """The series of a model; made with value 0 on the first call."""
        series = self._models.get(model_id)
        if series is None:
            series = self._models[model_id] = self._series(model_id)
        return series

    def tokens_of(self, model_id: str) -> tuple[int, int]:
        """Prompt tokens computed for a model, and tokens it generated; 0 before its first request.

        For vectors and scores only prompt tokens are counted.
        """
        series = self._models.get(model_id)
        if series is None:
            return 0, 0
        return _value(series.prompt_tokens), _value(series.generated_tokens)

    def _series(self, model_id: str) -> ModelSeries:
        return ModelSeries(
            prompt_tokens=self.prompt_tokens.labels(model_id),
            cached_tokens=self.cached_tokens.labels(model_id),
            generated_tokens=self.generated_tokens.labels(model_id),
            first_token=self._first_token.labels(model_id),
            inter_token=self._inter_token.labels(model_id),
            queue=self._queue.labels(model_id),
            prompt=self.prompt_seconds.labels(model_id),
            decode=self.decode_seconds.labels(model_id),
            request=self._request.labels(model_id),
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"llamabind_{name}", text, ("model", *labels), registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"llamabind_{name}", text, ("model",), buckets=buckets, registry=self.registry
        )


def _value(counter: Counter) -> int:
    """The value of a counter that has all its labels."""
    return int(
        sum(
            sample.value
            for metric in counter.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
    )
