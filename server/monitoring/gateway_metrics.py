"""gateway_metrics: an engine's load under the names that Kubernetes' inference gateways read.

The endpoint picker of the Gateway API Inference Extension reads vLLM's names unless it is
configured otherwise: `vllm:num_requests_waiting`, `vllm:num_requests_running` and
`vllm:kv_cache_usage_perc`, which older versions of both call `vllm:gpu_cache_usage_perc`.
"""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from server.protocol.messages import Stats


def kv_cache_utilization(stats: Stats) -> float:
    """Share of the KV cells of running sequences, from 0 to 1.

    Retained prefixes do not count: a new sequence can take their cells.
    """
    return stats.kv_cells_running / stats.kv_cells_total if stats.kv_cells_total else 0.0


def gateway_metrics(reports: Iterable[tuple[str, Stats]]) -> Iterable[Metric]:
    """The gauges of all loaded models."""
    running = _gauge("num_requests_running", "Requests running in an engine")
    waiting = _gauge("num_requests_waiting", "Requests in an engine's queue")
    used = _gauge("kv_cache_usage_perc", "Share of the KV cache in use, from 0 to 1")
    used_before = _gauge("gpu_cache_usage_perc", "The same, for older gateways")
    for model, stats in reports:
        running.add_metric((model,), stats.running)
        waiting.add_metric((model,), stats.waiting)
        used.add_metric((model,), kv_cache_utilization(stats))
        used_before.add_metric((model,), kv_cache_utilization(stats))
    return running, waiting, used, used_before


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"vllm:{name}", text, labels=("model_name",))
