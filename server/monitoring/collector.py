"""MetricsCollector: the gauges of /metrics, read at a scrape without messages to workers."""

from collections.abc import Iterable

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.logs import n_dropped_lines
from server.metrics import ServerMetrics
from server.models.admission import Admission
from server.models.entry import ModelEntry
from server.models.registry import ModelRegistry
from server.models.state import ModelState
from server.monitoring.gateway_metrics import gateway_metrics, kv_cache_utilization
from server.monitoring.system_metrics import SystemMetrics
from server.protocol.messages import Stats

_MB = 1 << 20


class MetricsCollector(Collector):
    """Gauges of models, processes and GPUs; also under llama-server's names where it has them.

    Workers report their figures about once a second, so a scrape neither wakes them nor waits.
    """

    def __init__(
        self,
        metrics: ServerMetrics,
        registry: ModelRegistry,
        admission: Admission,
        system: SystemMetrics,
        *,
        for_gateways: bool = False,
    ) -> None:
        """With `for_gateways` also the names that inference gateways read."""
        self._metrics = metrics
        self._registry = registry
        self._admission = admission
        self._system = system
        self._for_gateways = for_gateways

    def collect(self) -> Iterable[Metric]:
        """All metrics with their current values."""
        entries = self._registry.entries
        loaded = [entry for entry in entries if entry.is_in_memory]
        figures = [(entry.id, entry.worker.snapshot) for entry in loaded]
        reports = [(model, stats) for model, stats in figures if stats is not None]
        yield from self._models(entries, loaded)
        yield from _engines(reports)
        yield from _rates(reports)
        yield from _llama_server_engines(reports)
        yield from _drafts(reports)
        yield from self._llama_server_counters()
        if self._for_gateways:
            yield from gateway_metrics(reports)
        yield from self._gpus()
        yield from self._remote_devices()
        yield _dropped_lines()

    def _models(
        self, entries: Iterable[ModelEntry], loaded: Iterable[ModelEntry]
    ) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "llamabind_model_state", "1 for the state a model is in", labels=("model", "state")
        )
        inside = _gauge(
            "requests_in_progress", "Requests of a model that run, are queued, or wait for its load"
        )
        memory = _gauge("model_memory_bytes", "Memory of a model: weights, KV cache, buffers")
        stalled = _gauge("engine_stalled_seconds", "Seconds without a step or report of a worker")
        for entry in entries:
            inside.add_metric((entry.id,), self._admission.n_requests(entry.id))
            for each in ModelState:
                state.add_metric((entry.id, each.value), float(entry.state is each))
        for entry in loaded:
            memory.add_metric((entry.id,), entry.worker.model.memory_bytes)
            stalled.add_metric((entry.id,), entry.worker.stalled_seconds)
        return state, inside, memory, stalled

    def _llama_server_counters(self) -> Iterable[Metric]:
        metrics = self._metrics
        counters: tuple[tuple[str, str, Counter | Histogram], ...] = (
            ("prompt_tokens", "Prompt tokens computed", metrics.prompt_tokens),
            (
                "prompt_tokens_cached",
                "Prompt tokens reused from the KV cache",
                metrics.cached_tokens,
            ),
            ("prompt_seconds", "Time spent computing prompts", metrics.prompt_seconds),
            ("tokens_predicted", "Tokens generated", metrics.generated_tokens),
            ("tokens_predicted_seconds", "Time spent generating", metrics.decode_seconds),
        )
        for name, text, ours in counters:
            family = CounterMetricFamily(f"llamacpp:{name}", text, labels=("model",))
            for model, value in _values(ours):
                family.add_metric((model,), value)
            yield family
        yield _rate("prompt_tokens_seconds", metrics.prompt_tokens, metrics.prompt_seconds)
        yield _rate("predicted_tokens_seconds", metrics.generated_tokens, metrics.decode_seconds)

    def _gpus(self) -> Iterable[Metric]:
        labels = ("gpu", "name")
        total = GaugeMetricFamily("llamabind_gpu_memory_bytes", "Memory of a GPU", labels=labels)
        used = GaugeMetricFamily(
            "llamabind_gpu_memory_used_bytes", "Used memory of a GPU", labels=labels
        )
        load = GaugeMetricFamily(
            "llamabind_gpu_utilization_percent", "Utilization of a GPU", labels=labels
        )
        for gpu in self._system.gpus:
            values = (str(gpu.index), gpu.name)
            total.add_metric(values, gpu.memory.total_mb * _MB)
            used.add_metric(values, gpu.memory.used_mb * _MB)
            if gpu.utilization is not None:
                load.add_metric(values, gpu.utilization)
        return total, used, load

    def _remote_devices(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(
            "llamabind_rpc_device_up",
            "1 if the RPC server of a device answers, or serves another client",
            labels=("device", "server"),
        )
        free = GaugeMetricFamily(
            "llamabind_rpc_device_memory_free_bytes",
            "Free memory of a device of an RPC server",
            labels=("device", "server"),
        )
        total = GaugeMetricFamily(
            "llamabind_rpc_device_memory_bytes",
            "Memory of a device of an RPC server",
            labels=("device", "server"),
        )
        for device in self._system.rpc_devices:
            values = (device.name, device.server)
            up.add_metric(values, float(device.status in ("ok", "busy")))
            if device.memory is not None:
                free.add_metric(values, (device.memory.total_mb - device.memory.used_mb) * _MB)
                total.add_metric(values, device.memory.total_mb * _MB)
        return up, free, total


def _engines(reports: Iterable[tuple[str, Stats]]) -> Iterable[Metric]:
    running = _gauge("requests_running", "Requests running in an engine")
    waiting = _gauge("requests_waiting", "Requests in an engine's queue")
    paused = _gauge("requests_paused", "Requests that wait for their clients to read")
    used = _gauge("kv_cells_used", "KV cells in use, including retained prefixes")
    cells = _gauge("kv_cells", "KV cells of an engine")
    share = _gauge("kv_cache_utilization", "Share of KV cells of running sequences, from 0 to 1")
    kept = _gauge("cache_ram_bytes", "Host memory used by saved KV states (cache_ram)")
    disk = _gauge("cache_disk_bytes", "Files of a model's prefixes in --cache-dir")
    resident = _gauge("worker_resident_bytes", "Resident memory of a model's process")
    steps = CounterMetricFamily(
        "llamabind_engine_steps", "Steps of an engine since its load", labels=("model",)
    )
    reads = CounterMetricFamily(
        "llamabind_cache_disk_reads",
        "Files of --cache-dir read since a model's load",
        labels=("model",),
    )
    writes = CounterMetricFamily(
        "llamabind_cache_disk_writes",
        "Files of --cache-dir written since a model's load",
        labels=("model",),
    )
    for model, stats in reports:
        running.add_metric((model,), stats.running)
        waiting.add_metric((model,), stats.waiting)
        paused.add_metric((model,), stats.paused)
        used.add_metric((model,), stats.kv_cells_used)
        cells.add_metric((model,), stats.kv_cells_total)
        share.add_metric((model,), kv_cache_utilization(stats))
        kept.add_metric((model,), stats.cache_ram_bytes)
        disk.add_metric((model,), stats.cache_disk_bytes)
        reads.add_metric((model,), stats.cache_disk_reads_total)
        writes.add_metric((model,), stats.cache_disk_writes_total)
        resident.add_metric((model,), stats.resident_bytes)
        steps.add_metric((model,), stats.steps_total)
    return (
        running,
        waiting,
        paused,
        used,
        cells,
        share,
        kept,
        disk,
        reads,
        writes,
        resident,
        steps,
    )


def _rates(reports: Iterable[tuple[str, Stats]]) -> Iterable[Metric]:
    """Averages over an engine's latest ten seconds of computing; idle time does not count."""
    step = _gauge("engine_step_seconds", "Mean time of recent steps")
    prompt = _gauge(
        "engine_prompt_tokens_per_second", "Prompt tokens computed per second, recently"
    )
    generated = _gauge(
        "engine_generated_tokens_per_second", "Tokens generated per second, recently"
    )
    for model, stats in reports:
        step.add_metric((model,), stats.step_seconds)
        prompt.add_metric((model,), stats.prompt_tokens_per_second)
        generated.add_metric((model,), stats.generated_tokens_per_second)
    return step, prompt, generated


def _llama_server_engines(reports: Iterable[tuple[str, Stats]]) -> Iterable[Metric]:
    labels = ("model",)
    processing = GaugeMetricFamily(
        "llamacpp:requests_processing", "Requests running", labels=labels
    )
    deferred = GaugeMetricFamily("llamacpp:requests_deferred", "Requests waiting", labels=labels)
    busy = GaugeMetricFamily(
        "llamacpp:n_busy_slots_per_decode", "Mean number of sequences per step", labels=labels
    )
    longest = GaugeMetricFamily(
        "llamacpp:n_tokens_max",
        "Tokens of the longest sequence since the load, prompt and answer",
        labels=labels,
    )
    steps = CounterMetricFamily("llamacpp:n_decode", "Steps of an engine", labels=labels)
    for model, stats in reports:
        processing.add_metric((model,), stats.running)
        deferred.add_metric((model,), stats.waiting)
        busy.add_metric((model,), stats.sequence_steps_total / max(1, stats.steps_total))
        longest.add_metric((model,), stats.longest_sequence)
        steps.add_metric((model,), stats.steps_total)
    return processing, deferred, busy, longest, steps


def _drafts(reports: Iterable[tuple[str, Stats]]) -> Iterable[Metric]:
    """Speculative decoding, with llama-server's names; 0 if it is off."""
    name, labels = "llamacpp:spec_decode_num", ("model",)
    drafts = CounterMetricFamily(f"{name}_drafts", "Drafts that were verified", labels=labels)
    drafted = CounterMetricFamily(f"{name}_draft_tokens", "Tokens drafted", labels=labels)
    accepted = CounterMetricFamily(
        f"{name}_accepted_tokens", "Draft tokens that were accepted", labels=labels
    )
    by_position = CounterMetricFamily(
        f"{name}_accepted_tokens_per_pos",
        "Draft tokens that were accepted, by position in the draft",
        labels=("model", "position"),
    )
    for model, stats in reports:
        drafts.add_metric((model,), stats.drafts_total)
        drafted.add_metric((model,), stats.draft_tokens_total)
        accepted.add_metric((model,), stats.accepted_tokens_total)
        for position, count in enumerate(stats.accepted_per_position):
            by_position.add_metric((model, str(position)), count)
    return drafts, drafted, accepted, by_position


def _rate(name: str, tokens: Counter, seconds: Histogram) -> Metric:
    """Mean tokens per second since the start.

    llama-server averages since the last scrape, which is right for a single scraper only.
    """
    family = GaugeMetricFamily(f"llamacpp:{name}", "Mean tokens per second", labels=("model",))
    times = dict(_values(seconds))
    for model, value in _values(tokens):
        if times.get(model):
            family.add_metric((model,), value / times[model])
    return family


def _dropped_lines() -> CounterMetricFamily:
    text = "Log lines dropped because the log's reader was too slow or failed"
    return CounterMetricFamily("llamabind_log_lines_dropped", text, value=n_dropped_lines())


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"llamabind_{name}", text, labels=("model",))


def _values(series: Counter | Histogram) -> list[tuple[str, float]]:
    """(model, value) pairs of a counter, or of the sum of a histogram."""
    return [
        (sample.labels["model"], sample.value)
        for metric in series.collect()
        for sample in metric.samples
        if sample.name.endswith(("_total", "_sum"))
    ]
