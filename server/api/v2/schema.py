"""Requests and answers of /api/v2, as in docs/api.md."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.api.schema.chat import ChatFields
from server.api.shared.model_documents import capabilities
from server.api.v2.load_schema import load_settings, memory_documents, retention
from server.formats import iso_time
from server.models.entry import ModelEntry
from server.models.state import ModelState
from server.protocol.messages import Stats
from server.streams.token_stream import TokenUsage


class ChatBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /api/v2/chat/{model_id} and .../stream."""

    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    stream: bool | None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: TokenUsage) -> "Usage":
        """From the counts of a TokenStream."""
        return cls(usage.prompt, usage.completion, usage.prompt + usage.completion)


class UnloadBody(msgspec.Struct, frozen=True):
    """The body of POST /api/v2/models/{model_id}/unload, which is optional."""

    force: bool | None = None


def model_summary(
    entry: ModelEntry, aliases: Sequence[str], modalities: list[str]
) -> dict[str, Any]:
    """One element of `available_models`; `modalities` are those of its inputs."""
    file = entry.file
    summary = {
        "id": file.id,
        "aliases": list(aliases),
        "size": file.size,
        "modified": iso_time(file.modified),
        "status": entry.state.value,
        "metadata": _metadata(entry),
        "capabilities": capabilities(entry, modalities),
        "can_remove": file.hub is not None,
    }
    if reason := _reason(entry):
        summary["failure"] = reason
    return summary


def loaded_model(entry: ModelEntry) -> dict[str, Any]:
    """One value of `loaded_models`."""
    model = entry.worker.model if entry.is_in_memory else None
    return {
        "status": entry.state.value,
        "load_time": _load_time(entry),
        "n_ctx": model.n_ctx if model else None,
        "memory_bytes": model.memory_bytes if model else None,
    } | retention(entry)


def model_detail(summary: dict[str, Any], entry: ModelEntry, stats: Stats | None) -> dict[str, Any]:
    """The answer of GET /api/v2/models/{model_id}: its `summary` and further figures. `stats` is
    None without an engine's answer.
    """
    detail = summary | {
        "performance": {
            "load_time": _load_time(entry),
            "tokens_processed": entry.leases.tokens_processed,
            "average_speed": entry.leases.average_speed,
        },
        "settings": load_settings(entry),
        "memory": memory_documents(entry.worker.model.devices) if entry.is_in_memory else None,
        "warnings": list(entry.warnings),
        "engine": _engine(entry, stats) if entry.is_in_memory else None,
    }
    if entry.state is ModelState.LOADING:
        detail["progress"] = round(entry.progress, 3)
    return detail


def _engine(entry: ModelEntry, stats: Stats | None) -> dict[str, Any]:
    """The worker process and its load; None where it did not answer in time."""
    return {
        "pid": entry.worker.pid,
        "running": stats.running if stats else None,
        "waiting": stats.waiting if stats else None,
        "kv_cells_used": stats.kv_cells_used if stats else None,
        "step_seconds": stats.step_seconds if stats else None,
        "prompt_tokens_per_second": stats.prompt_tokens_per_second if stats else None,
        "generated_tokens_per_second": stats.generated_tokens_per_second if stats else None,
        "n_ctx": entry.worker.model.n_ctx,
    }


def _metadata(entry: ModelEntry) -> dict[str, Any]:
    header = entry.file.header
    return {
        "model_type": header.architecture if header else None,
        "parameters": {
            "context_length": header.context_length if header else None,
            "embedding_length": header.embedding_length if header else None,
            "block_count": header.block_count if header else None,
        },
        "name": header.name if header else None,
        "file_type": header.file_type if header else None,
        "file_type_name": header.file_type_name if header else None,
        "parameter_count": entry.file.parameter_count,
    }


def _reason(entry: ModelEntry) -> dict[str, Any] | None:
    if entry.failure is not None:
        failure = entry.failure
        log = list(failure.log_tail[-10:])
        return {"reason": failure.reason, "detail": failure.detail, "log": log}
    if entry.file.broken is not None:
        return {"reason": entry.file.reason, "detail": entry.file.broken, "log": []}
    return None


def _load_time(entry: ModelEntry) -> str | None:
    return iso_time(entry.loaded_at) if entry.loaded_at else None
