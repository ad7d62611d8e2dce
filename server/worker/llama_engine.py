"""LlamaEngine: llamabind's engine as the worker uses it; only this module of `server` loads it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llamabind import (
    Engine,
    EngineConfig,
    EngineThread,
    GenerationRequest,
    ModelParams,
    load_engine,
    read_gguf_header,
)
from llamabind.bug_report import make_bug_report
from llamabind.engine_config import usable_cpus
from llamabind.prompting import Prompter, PromptRequests
from server.job import Job
from server.load_settings import LoadSettings
from server.protocol import Load, LoadedModel, Stats
from server.worker.engine_port import EngineEvents
from server.worker.requests import RequestMaker

# A large model reports progress thousands of times.
_PROGRESS_STEP = 0.01


class LlamaEngine:
    """A loaded model with its engine thread. Any thread."""

    def __init__(self, engine: Engine, events: EngineEvents, warnings: tuple[str, ...]) -> None:
        self._engine = engine
        self._warnings = warnings
        # Before the thread starts: nothing that takes a llama_context is thread-safe.
        self._n_threads = engine.context.n_threads
        prompter = Prompter(engine.tokenizer, engine.chat_template, engine.shape.n_ctx)
        self._requests = RequestMaker(prompter, engine.tokenizer)
        self._thread = EngineThread(engine, events.on_step, events.on_failure)

    def describe(self) -> LoadedModel:
        """The effective settings and sizes."""
        shape = self._engine.shape
        return LoadedModel(
            n_ctx=shape.n_ctx,
            n_batch=shape.n_batch,
            n_parallel=shape.n_parallel,
            threads=self._n_threads,
            memory_bytes=self._engine.memory.total,
            description=self._engine.model.description,
            fingerprint=_fingerprint(),
            warnings=self._warnings,
        )

    def prepare(self, job: Job) -> PromptRequests:
        """Render and tokenise. Raises LlamaError."""
        return self._requests.make(job)

    def piece(self, token: int) -> bytes:
        """The bytes of a token, special ones as they are written."""
        return self._engine.tokenizer.piece(token, special=True)

    def submit(self, request: GenerationRequest) -> None:
        """Start a request; its outputs come through `on_step`. Raises LlamaError."""
        self._thread.submit(request)

    def cancel(self, request_id: str) -> None:
        """End a request at the next step."""
        self._thread.cancel(request_id)

    def stats(self) -> Stats:
        """A snapshot."""
        stats = self._thread.stats
        return Stats(
            running=stats.running,
            waiting=stats.waiting,
            kv_cells_used=stats.cells_used,
            n_ctx=self._engine.shape.n_ctx,
            prompt_tokens_total=stats.prompt_tokens,
            generated_tokens_total=stats.generated_tokens,
            kv_cells_total=stats.cells_total,
            cached_tokens_total=stats.cached_tokens,
            steps_total=stats.steps,
            sequence_steps_total=stats.sequence_steps,
            longest_sequence=stats.longest_sequence,
        )

    def close(self) -> None:
        """Cancel what runs, deliver the last outputs, and end the thread."""
        self._thread.close()


def load_llama_engine(load: Load, events: EngineEvents) -> LlamaEngine:
    """Load the model of `load`; returns when it is ready. Raises LlamaError."""
    with _native_warnings() as warnings:
        engine = load_engine(
            load.path,
            _model_params(load.settings),
            _engine_config(load),
            progress=_Progress(events),
        )
    return LlamaEngine(engine, events, (*warnings, *_thread_warnings(load.settings)))


def _fingerprint() -> str:
    """OpenAI's system_fingerprint as llama-server writes it, such as "b11312-0c1e57098"."""
    native = make_bug_report().native
    return f"b{native.build_number}-{native.llama_commit[:9]}" if native else ""


def _model_params(settings: LoadSettings) -> ModelParams:
    return ModelParams(
        n_gpu_layers=settings.n_gpu_layers,
        load_mode="mmap+mlock" if settings.use_mlock else "auto",
    )


def _engine_config(load: Load) -> EngineConfig:
    settings = load.settings
    n_ctx = settings.n_ctx
    if n_ctx == 0:
        n_ctx = read_gguf_header(load.path).context_length
    cache_type = "f32" if settings.f16_kv is False else "f16"
    chosen: dict[str, Any] = {
        "n_ctx": n_ctx,
        "n_batch": settings.n_batch,
        "n_ubatch": settings.n_ubatch,
        "n_parallel": settings.n_parallel,
        "n_threads": _explicit(settings.threads),
        "n_threads_batch": _explicit(settings.threads_batch),
        "type_k": settings.cache_type_k or cache_type,
        "type_v": settings.cache_type_v or cache_type,
        "flash_attn": settings.flash_attn,
        "kv_unified": settings.kv_unified,
    }
    return EngineConfig(**{name: value for name, value in chosen.items() if value is not None})


def _explicit(threads: int | None) -> int | None:
    """0 and -1 are llama-server's words for "find out". No more than there are CPUs: compute
    threads wait for each other spinning, so one too many makes all of them slow.
    """
    return min(threads, usable_cpus()) if threads and threads > 0 else None


def _thread_warnings(settings: LoadSettings) -> list[str]:
    n_cpus = usable_cpus()
    return [
        f"{name}: {asked} is more than this machine's {n_cpus} CPUs, {n_cpus} are used"
        for name, asked in (
            ("threads", settings.threads),
            ("threads_batch", settings.threads_batch),
        )
        if asked is not None and asked > n_cpus
    ]


class _Progress:
    """Passes on progress in steps worth a message; never cancels, since leaving does."""

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
        text = record.getMessage()
        # What was asked for and not done; other warnings are about the file, and in the log.
        if "mlock" in text:
            self.lines.append(text.strip())


@contextmanager
def _native_warnings() -> Iterator[list[str]]:
    """Collect what native code says about settings that it could not honour."""
    native = logging.getLogger("llamabind.native")
    collector = _Collector()
    native.addHandler(collector)
    try:
        yield collector.lines
    finally:
        native.removeHandler(collector)
