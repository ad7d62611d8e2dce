"""Documents of loads and estimates: requested and effective settings, and memory."""

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from server.formats import byte_size, iso_time
from server.models.entry import ModelEntry
from server.models.registry import LoadPreview
from server.protocol.generation_settings import brief_settings
from server.protocol.loading import DeviceMemory
from server.protocol.sampling_defaults import SamplingDefaults


def load_reply(entry: ModelEntry) -> dict[str, Any]:
    """The answer of POST /api/v2/models/{model_id}/load."""
    model = entry.worker.model
    return {
        "status": "success",
        "message": "Model loaded successfully",
        "load_time": iso_time(entry.loaded_at) if entry.loaded_at else None,
        "memory_used": byte_size(model.memory_bytes),
        "settings": load_settings(entry),
        "memory": memory_documents(model.devices),
        "warnings": list(entry.warnings),
    }


def load_settings(entry: ModelEntry) -> dict[str, Any]:
    """Requested settings, defaults for all others, and effective settings (None while the model is
    not in memory).
    """
    effective = entry.worker.model.effective | _of_server(entry) if entry.is_in_memory else None
    return {
        "requested": msgspec.to_builtins(entry.load_request.requested),
        "defaults": msgspec.to_builtins(entry.defaults),
        "effective": effective,
    }


def _of_server(entry: ModelEntry) -> dict[str, Any]:
    """Effective settings that the worker does not know."""
    is_vector = entry.worker.model.effective.get("embedding")
    defaults = entry.settings.sampling or SamplingDefaults()
    sampling = brief_settings(defaults.params(), defaults.max_tokens)
    return retention(entry) | {"sampling": None if is_vector else sampling}


def retention(entry: ModelEntry) -> dict[str, Any]:
    """How long an idle model stays in memory: `ttl` in seconds, -1 for ever; `pinned`."""
    ttl = -1 if entry.ttl == math.inf else entry.ttl
    return {"ttl": ttl, "pinned": entry.is_pinned}


def estimate_reply(preview: LoadPreview) -> dict[str, Any]:
    """The answer of POST /api/v2/models/{model_id}/estimate."""
    estimated, plan = preview.estimated, preview.plan
    return {
        "id": preview.model_id,
        "fits": not plan.missing,
        "evicts": list(plan.evict),
        "waits_for": list(plan.wait_for),
        "devices": plan.shortages(),
        "memory_needed": byte_size(sum(device.used_bytes for device in estimated.devices)),
        "memory": memory_documents(estimated.devices),
        "settings": {
            "requested": msgspec.to_builtins(preview.settings),
            "effective": {"n_ctx": estimated.n_ctx, "n_gpu_layers": estimated.n_gpu_layers},
        },
        "warnings": list(estimated.warnings),
    }


def memory_documents(devices: Iterable[DeviceMemory]) -> list[dict[str, Any]]:
    """The memory of each device in bytes; None where a device does not report it."""
    return [
        {
            "device": device.name,
            "kind": device.kind,
            "used_bytes": device.used_bytes,
            "model_bytes": device.model_bytes,
            "context_bytes": device.context_bytes,
            "compute_bytes": device.compute_bytes,
            "free_bytes": device.free_bytes,
            "total_bytes": device.total_bytes,
        }
        for device in devices
    ]
