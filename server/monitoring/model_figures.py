"""ModelFigures: the load of each model in memory, for GET /api/v2/metrics."""

from collections.abc import Iterable

import msgspec

from server.metrics import ServerMetrics
from server.models.entry import ModelEntry
from server.monitoring.system_metrics import SystemDocument


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory. The worker reports about once a second; null before its first report.

    `kv_cells_used` includes retained prefixes. The totals count since the server's start; the rates
    are averages over the last ten seconds in which the engine computed, so they keep their values
    while it is idle.
    """

    model: str
    status: str
    n_parallel: int
    memory_bytes: int
    prompt_tokens_total: int
    generated_tokens_total: int
    running: int | None
    waiting: int | None
    kv_cells: int | None
    kv_cells_used: int | None
    resident_bytes: int | None
    prompt_tokens_per_second: float | None
    generated_tokens_per_second: float | None


class MetricsDocument(SystemDocument, frozen=True, kw_only=True):
    """GET /api/v2/metrics: the machine, every model in memory, and up to 20 errors in the form of
    `last_error` of /api/v2/health, the newest last.
    """

    models: tuple[ModelFigures, ...]
    recent_errors: tuple[str, ...]


def metrics_document(
    system: SystemDocument,
    entries: Iterable[ModelEntry],
    metrics: ServerMetrics,
    errors: tuple[str, ...],
) -> MetricsDocument:
    """The latest figures; no worker is asked."""
    models = tuple(_figures_of(entry, metrics) for entry in entries if entry.is_in_memory)
    return MetricsDocument(**msgspec.structs.asdict(system), models=models, recent_errors=errors)


def _figures_of(entry: ModelEntry, metrics: ServerMetrics) -> ModelFigures:
    model, stats = entry.worker.model, entry.worker.snapshot
    prompt_tokens, generated_tokens = metrics.tokens_of(entry.id)
    return ModelFigures(
        model=entry.id,
        status=entry.state.value,
        n_parallel=model.n_parallel,
        memory_bytes=model.memory_bytes,
        prompt_tokens_total=prompt_tokens,
        generated_tokens_total=generated_tokens,
        running=stats.running if stats else None,
        waiting=stats.waiting if stats else None,
        kv_cells=stats.kv_cells_total if stats else None,
        kv_cells_used=stats.kv_cells_used if stats else None,
        resident_bytes=stats.resident_bytes if stats else None,
        prompt_tokens_per_second=stats.prompt_tokens_per_second if stats else None,
        generated_tokens_per_second=stats.generated_tokens_per_second if stats else None,
    )
