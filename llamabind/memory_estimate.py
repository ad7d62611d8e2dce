"""What a model would take, by device, before it is loaded: llama.cpp lays it out without memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.embedding.config import EmbeddingConfig
from llamabind.embedding.engine import embedding_traits
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import make_context
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

if TYPE_CHECKING:
    from pathlib import Path

    from llamabind.context.params import ContextParams


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The memory of a model and its context, and what else only native code knows of the file.

    `n_ctx` is the size of the context, `n_ctx_train` what the model was trained with,
    `context_params` what the context would be made with.
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
    """Lay out a model and the context that `config` would give it; nothing big is allocated.

    Reads the header and the vocabulary only. Raises ModelLoadError or ContextCreateError.
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
        return Context(model, config.context_params(embedding_traits(model)))
    return make_context(model, config or EngineConfig())
