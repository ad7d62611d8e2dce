"""Makes the engine of a model that was loaded, and describes it; loads models for embeddings."""

import dataclasses
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from llamabind import (
    EmbeddingConfig,
    Engine,
    Model,
)
from llamabind.context.memory_report import MemoryReport
from llamabind.engine.config import BegunLoad
from llamabind.engine.engine import make_engine
from llamabind.generation.conversation import NO_TEMPLATE
from llamabind.media.libraries import missing_libraries
from llamabind.native.backend import build_name
from server.protocol.loading import DeviceMemory, Load, LoadedModel
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.engines.llama_engine import LlamaEngine
from server.worker.engines.side_embeddings import SideEmbeddings
from server.worker.loading.device_memory import count_gpus, device_memory
from server.worker.loading.effective_settings import (
    effective_embedding_settings,
    effective_settings,
)
from server.worker.loading.known_plan import Planned
from server.worker.loading.plan import size_warnings

if TYPE_CHECKING:
    from llamabind import Projector

logger = logging.getLogger(__name__)


def make_llama_engine(
    load: Load,
    planned: Planned,
    model: Model,
    begun: BegunLoad,
    events: EngineEvents,
    warnings: list[str],
) -> LlamaEngine:
    """Make the engine of a model that was loaded as `begun` says, which is closed on failure.

    `warnings` gets those of native code meanwhile. Raises LlamaError.
    """
    with ExitStack() as undo:
        chat_template, lora = load.settings.chat_template, load.files.lora
        engine = undo.enter_context(make_engine(model, begun, chat_template, lora))
        projector = _load_projector(load, engine)
        undo.pop_all()
    plan = planned.plan
    effective = effective_settings(load, planned, engine, is_locked=_is_locked(load, warnings))
    loaded = _describe(
        load, planned, engine.memory, engine.model, effective | _modalities(projector), warnings
    )
    loaded = replace(loaded, warnings=(*loaded.warnings, *_media_warnings(projector)))
    template = engine.chat_template
    if template is not None:
        loaded = replace(loaded, template_capabilities=dataclasses.asdict(template.capabilities))
    if template is not None and not template.is_explicit:
        logger.warning("%s: %s", Path(load.path).name, NO_TEMPLATE)
        loaded = replace(loaded, warnings=(*loaded.warnings, f"chat_template: {NO_TEMPLATE}"))

    def count_embeddings(memory: MemoryReport) -> None:
        """Report the memory of the embeddings' context too, once it is made."""
        devices = _devices([engine.memory, memory], load, is_locked=effective["use_mlock"])
        n_bytes = sum(device.used_bytes for device in devices)
        events.on_change(replace(loaded, devices=devices, memory_bytes=n_bytes))

    embeddings = SideEmbeddings(load.path, plan.model_params, engine, count_embeddings)
    return LlamaEngine(engine, events, loaded, embeddings, projector)


def _load_projector(load: Load, engine: Engine) -> "Projector | None":
    if load.files.mmproj is None:
        return None
    from llamabind import Projector

    return Projector(
        engine.model,
        load.files.mmproj,
        use_gpu=count_gpus() > 0 and load.settings.mmproj_offload is not False,
        n_threads=engine.context.n_threads_batch,
        image_min_tokens=load.settings.image_min_tokens,
        image_max_tokens=load.settings.image_max_tokens,
    )


def _media_warnings(projector: "Projector | None") -> tuple[str, ...]:
    if projector is None:
        return ()
    missing = missing_libraries(vision=projector.has_vision, audio=projector.has_audio)
    return tuple(f"mmproj: {error}" for error in missing)


def _modalities(projector: "Projector | None") -> dict[str, Any]:
    return {
        "vision": projector is not None and projector.has_vision,
        "audio": projector is not None and projector.has_audio,
    }


def load_embeddings(
    load: Load, planned: Planned, progress: Callable[[float], bool], warnings: list[str]
) -> WorkerEngine:
    """Load a model that computes embeddings. Raises LlamaError."""
    # Here, and the projector above, because most models do without.
    from llamabind import load_embedding_engine
    from server.worker.engines.embedding_engine import EmbeddingWorkerEngine

    plan = planned.plan
    assert isinstance(plan.config, EmbeddingConfig), "planned with `embedding`"
    engine = load_embedding_engine(
        load.path, plan.model_params, plan.config, progress, load.files.lora
    )
    effective = effective_embedding_settings(
        load, planned, engine, is_locked=_is_locked(load, warnings)
    )
    loaded = _describe(load, planned, engine.memory, engine.model, effective, warnings)
    return EmbeddingWorkerEngine(engine, loaded)


def _describe(
    load: Load,
    planned: Planned,
    memory: MemoryReport,
    model: Model,
    effective: dict[str, Any],
    warnings: list[str],
) -> LoadedModel:
    devices = _devices([memory], load, is_locked=effective["use_mlock"])
    return LoadedModel(
        n_ctx=effective["n_ctx_seq"],
        n_batch=effective["n_batch"],
        n_parallel=effective["n_parallel"],
        threads=effective["threads"],
        memory_bytes=sum(device.used_bytes for device in devices),
        devices=devices,
        # Every setting; null for those without meaning for this load.
        effective=dict.fromkeys(load.settings.__struct_fields__) | effective,
        description=model.description,
        fingerprint=build_name(),  # as llama-server writes it
        bos_token=_piece(model, model.tokenizer.bos),
        eos_token=_piece(model, model.tokenizer.eos),
        warnings=(
            *planned.plan.warnings,
            *size_warnings(load.settings, effective),
            *warnings,
        ),
    )


def _devices(
    reports: list[MemoryReport], load: Load, *, is_locked: bool
) -> tuple[DeviceMemory, ...]:
    host, *others = device_memory(reports, load.files)
    if is_locked:
        # The system does not count locked pages of a file as available.
        host = replace(host, mapped_bytes=0)
    return (host, *others)


def _piece(model: Model, token: int | None) -> str:
    return (
        "" if token is None else model.tokenizer.piece(token, special=True).decode(errors="replace")
    )


def _is_locked(load: Load, warnings: list[str]) -> bool:
    return load.settings.locks and not any("mlock" in warning for warning in warnings)
