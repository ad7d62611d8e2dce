"""SideEmbeddings: embeddings by a model that was loaded to generate text."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llamabind import EmbeddingConfig, Engine, ModelParams
from llamabind.context.memory_report import MemoryReport
from llamabind.errors import ContextCreateError
from llamabind.memory_estimate import estimate_memory
from llamabind.native.backend import devices
from llamabind.system.host_memory import host_memory
from server.formats import byte_size
from server.protocol.tasks import Embed, Rank, TaskResult
from server.worker.engines.vector_tasks import VectorTasks, cannot_rerank

if TYPE_CHECKING:
    from llamabind import EmbeddingEngine

logger = logging.getLogger(__name__)

_MAX_CTX: Final = 8192
_MIN_CTX: Final = 512
_N_PARALLEL: Final = 8


class SideEmbeddings:
    """Computes embeddings in a second context over the weights of `engine`, made at first use.

    The context has as many tokens as the engine's, at most 8,192, and fewer if the free memory is
    too small for it. It stays until close(), which must be called before the engine's. Any thread.
    """

    def __init__(
        self,
        path: str,
        model_params: ModelParams,
        engine: Engine,
        on_made: Callable[[MemoryReport], None] = lambda _: None,
    ) -> None:
        """`on_made` gets the memory of the second context, once it is made."""
        self._on_made = on_made
        self._path = path
        self._model_params = model_params
        self._engine = engine
        self._lock = threading.Lock()
        self._made: EmbeddingEngine | None = None

    def perform(self, task: Embed | Rank) -> Future[TaskResult]:
        """Start a task. Raises LlamaError, ContextCreateError for lack of memory."""
        if isinstance(task, Rank):
            raise cannot_rerank()
        with self._lock:
            if self._made is None:
                from llamabind import EmbeddingEngine  # here: most models only generate text

                self._made = EmbeddingEngine(self._engine.model, self._config())
                self._on_made(self._made.memory.without_weights)
        return VectorTasks(self._made).perform(task)

    def close(self) -> None:
        """End the tasks and free the context."""
        with self._lock:
            if self._made is not None:
                self._made.close()

    def _config(self) -> EmbeddingConfig:
        """The largest context that fits into the free memory."""
        params = self._engine.context.params
        config = EmbeddingConfig(
            n_ctx=min(self._engine.shape.n_ctx, _MAX_CTX),
            n_parallel=_N_PARALLEL,
            type_k=params.type_k,
            type_v=params.type_v,
            flash_attn=params.flash_attn,
            rope=params.rope,
        )
        while True:
            report = estimate_memory(Path(self._path), self._model_params, config).report
            problem = _shortage(report)
            n_ctx = config.n_ctx or _MIN_CTX
            if problem is None:
                logger.info("embeddings are computed in a context of %d tokens", n_ctx)
                return config
            if n_ctx // 2 < _MIN_CTX:
                raise ContextCreateError(
                    f"embeddings by a model that is loaded to generate text need {problem}; unload "
                    "another model, or load this one with embedding: true",
                    "out_of_memory",
                )
            config = replace(config, n_ctx=n_ctx // 2)


def _shortage(report: MemoryReport) -> str | None:
    """Which memory is too small for the context, without the weights; None if it fits."""
    host = report.host.context + report.host.compute
    free = {
        device.name: device.memory_free
        for device in devices()
        if device.kind in ("gpu", "igpu") and device.memory_total > 0
    }
    for use in report.devices:
        needed = use.context + use.compute
        if use.name not in free:
            # An accelerator without its own memory, such as BLAS, uses the host's.
            host += needed
        elif needed > free[use.name]:
            return f"{byte_size(needed)} of {use.name}, where {byte_size(free[use.name])} is free"
    available = host_memory().free
    if host > available:
        return f"{byte_size(host)} of host memory, of which {byte_size(available)} is free"
    return None
