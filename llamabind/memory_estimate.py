"""The memory that a model would take on each device, without allocating or loading it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.embedding.config import EmbeddingConfig
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import make_context
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

if TYPE_CHECKING:
    from pathlib import Path

    from llamabind.context.params import ContextParams


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The memory of a model and its context, and other facts that only native code knows.

    `n_ctx` is the context size in tokens, `n_ctx_train` the one that the model was trained with,
    `context_params` the parameters that the context would have.
    """

    report: MemoryReport
    n_ctx: int
    n_ctx_train: int
    n_layer: int
    context_params: ContextParams


def estimate_memory(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EngineConfig | EmbeddingConfig | None = None,
) -> MemoryEstimate:
    """Return the memory for a model and the context that `config` would give it.

    Reads only the header and the vocabulary, and allocates neither weights nor KV cache. Raises
    ModelLoadError or ContextCreateError.
    """
    params = replace(model_params or ModelParams(), no_alloc=True, load_mode="none")
    with Model(path, params) as model, _make_context(model, config) as context:
        return MemoryEstimate(
            MemoryReport.of(context),
            context.n_ctx,
            model.n_ctx_train,
            model.n_layer,
            context.params,
        )


def _make_context(model: Model, config: EngineConfig | EmbeddingConfig | None) -> Context:
    if isinstance(config, EmbeddingConfig):
        from llamabind.embedding.engine import embedding_traits  # most models generate text

        return Context(model, config.context_params(embedding_traits(model)))
    return make_context(model, config or EngineConfig())
