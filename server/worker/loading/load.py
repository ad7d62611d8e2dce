"""load_worker_engine: loads the model of a Load message into an engine."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from llamabind import (
    EmbeddingConfig,
    Engine,
    EngineConfig,
    Model,
    load_engine,
)
from llamabind.context.memory_report import MemoryReport
from llamabind.generation.conversation import NO_TEMPLATE
from llamabind.media.libraries import missing_libraries
from llamabind.native.backend import build_name
from llamabind.native.remote_devices import keep_connections_alive
from llamabind.system.host_memory import host_memory
from server.protocol.loading import Load, LoadedModel
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.engines.llama_engine import LlamaEngine
from server.worker.engines.side_embeddings import SideEmbeddings
from server.worker.loading.device_memory import count_gpus, device_memory, limit_memory
from server.worker.loading.effective_settings import (
    effective_embedding_settings,
    effective_settings,
)
from server.worker.loading.estimate import Planned, plan_known, require_memory
from server.worker.loading.plan import size_warnings
from server.worker.loading.remote import add_remote_devices

if TYPE_CHECKING:
    from llamabind import Projector

logger = logging.getLogger(__name__)

# A large model reports progress thousands of times.
_PROGRESS_STEP = 0.01


def load_worker_engine(load: Load, events: EngineEvents) -> WorkerEngine:
    """Load what `load` names; returns when it is ready. Raises LlamaError."""
    # Limited to the free memory: if the load needs more, it fails instead of another process.
    limit_memory(host_memory().free)
    add_remote_devices(load)
    planned = plan_known(load)
    require_memory(planned)
    make = _load_embedding if load.settings.embedding else _load_generation
    engine = make(load, planned, events)
    keep_connections_alive()
    return engine


def _load_generation(load: Load, planned: Planned, events: EngineEvents) -> LlamaEngine:
    plan = planned.plan
    assert isinstance(plan.config, EngineConfig), "planned without `embedding`"
    with _native_warnings() as warnings, ExitStack() as undo:
        engine = undo.enter_context(
            load_engine(
                load.path,
                plan.model_params,
                _with_prefix_files(plan.config, load),
                progress=_Progress(events),
                chat_template=load.settings.chat_template,
                lora=load.files.lora,
            )
        )
        projector = _load_projector(load, engine)
        undo.pop_all()
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
        devices = device_memory([engine.memory, memory], load.files)
        n_bytes = sum(device.used_bytes for device in devices)
        events.on_change(replace(loaded, devices=devices, memory_bytes=n_bytes))

    embeddings = SideEmbeddings(load.path, plan.model_params, engine, count_embeddings)
    return LlamaEngine(engine, events, loaded, embeddings, projector)


def _with_prefix_files(config: EngineConfig, load: Load) -> EngineConfig:
    files = load.prefix_files
    if files is None:
        return config
    return dataclasses.replace(config, cache_dir=files.folder, cache_disk_mib=files.max_mib)


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


def _load_embedding(load: Load, planned: Planned, events: EngineEvents) -> WorkerEngine:
    # Here, and the projector below, because most models do without.
    from llamabind import load_embedding_engine
    from server.worker.engines.embedding_engine import EmbeddingWorkerEngine

    plan = planned.plan
    assert isinstance(plan.config, EmbeddingConfig), "planned with `embedding`"
    with _native_warnings() as warnings:
        engine = load_embedding_engine(
            load.path, plan.model_params, plan.config, _Progress(events), load.files.lora
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
    devices = device_memory([memory], load.files)
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


def _piece(model: Model, token: int | None) -> str:
    return (
        "" if token is None else model.tokenizer.piece(token, special=True).decode(errors="replace")
    )


class _Progress:
    """Reports progress in steps of 1 %; never cancels: a cancelled load ends the process."""

    def __init__(self, events: EngineEvents) -> None:
        self._events = events
        self._last = -1.0

    def __call__(self, fraction: float) -> bool:
        if fraction >= self._last + _PROGRESS_STEP or fraction >= 1.0:
            self._last = fraction
            self._events.on_progress(fraction)
        return True


def _is_locked(load: Load, warnings: list[str]) -> bool:
    return load.settings.locks and not any("mlock" in warning for warning in warnings)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        # Only warnings about requested settings; the others are about the file and stay in the log.
        if "mlock" in text.lower():
            self.lines.append(f"use_mlock: {text.removeprefix('warning: ')}")
        elif text.startswith("speculative decoding is off"):
            self.lines.append(f"speculative: {text}")


@contextmanager
def _native_warnings() -> Iterator[list[str]]:
    """Collect warnings of llamabind and native code about settings that could not be applied."""
    llamabind = logging.getLogger("llamabind")
    collector = _Collector()
    llamabind.addHandler(collector)
    try:
        yield collector.lines
    finally:
        llamabind.removeHandler(collector)
