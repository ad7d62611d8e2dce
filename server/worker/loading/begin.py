"""load_worker_engine: loads the model of a Load message into an engine.

The weights are read by native code, without the GIL. Meanwhile another thread of a new worker
imports the modules that make the engine, so this module imports none of them.
"""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from llamabind import EmbeddingConfig, EngineConfig, Model
from llamabind.engine.config import begin_load
from llamabind.native.remote_devices import keep_connections_alive
from llamabind.system.host_memory import host_memory
from server.protocol.loading import Load
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.loading.device_memory import limit_memory
from server.worker.loading.known_plan import Planned, plan_known, require_memory
from server.worker.loading.remote import add_remote_devices

# A large model reports progress thousands of times.
_PROGRESS_STEP = 0.01


def load_worker_engine(load: Load, events: EngineEvents) -> WorkerEngine:
    """Load what `load` names; returns when it is ready. Raises LlamaError."""
    # Limited to the free memory: if the load needs more, it fails instead of another process.
    limit_memory(host_memory().free)
    add_remote_devices(load)
    planned = plan_known(load)
    require_memory(planned)
    with _native_warnings() as warnings:
        if isinstance(planned.plan.config, EmbeddingConfig):
            from server.worker.loading.load import load_embeddings

            engine = load_embeddings(load, planned, _Progress(events), warnings)
        else:
            engine = _load_generation(load, planned, events, warnings)
    keep_connections_alive()
    return engine


def _load_generation(
    load: Load, planned: Planned, events: EngineEvents, warnings: list[str]
) -> WorkerEngine:
    plan = planned.plan
    assert isinstance(plan.config, EngineConfig), "planned without `embedding`"
    config = _with_prefix_files(plan.config, load)
    begun = begin_load(load.path, plan.model_params, config, [file for file, _ in load.files.lora])
    model = Model(load.path, begun.model_params, _Progress(events))
    try:
        from server.worker.loading.load import make_llama_engine
    except BaseException:
        model.close()
        raise
    return make_llama_engine(load, planned, model, begun, events, warnings)


def _with_prefix_files(config: EngineConfig, load: Load) -> EngineConfig:
    files = load.prefix_files
    if files is None:
        return config
    return dataclasses.replace(config, cache_dir=files.folder, cache_disk_mib=files.max_mib)


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
