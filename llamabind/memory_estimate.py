"""The memory that a model would take on each device, without allocating or loading it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.embedding.config import EmbeddingConfig
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import make_context
from llamabind.engine.head_setup import make_head_context, reads_hidden_states
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

if TYPE_CHECKING:
    from llamabind.context.params import ContextParams


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The memory of a model and its context, and other facts that only native code knows.

    `n_ctx` is the context size in tokens, `n_ctx_train` the one that the model was trained with,
    `context_params` the parameters that the context would have. `report` includes `heads`, the
    context that computes the model's draft heads, if they are used.
    """

    report: MemoryReport
    n_ctx: int
    n_ctx_train: int
    n_layer: int
    context_params: ContextParams
    heads: MemoryReport | None = None


def estimate_memory(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EngineConfig | EmbeddingConfig | None = None,
) -> MemoryEstimate:
    """Return the memory for a model and the context that `config` would give it.

    Reads only the header and the vocabulary, and allocates neither weights nor KV cache. Raises
    ModelLoadError or ContextCreateError.
    """
    if not isinstance(config, EmbeddingConfig):
        config = (config or EngineConfig()).with_draft_heads(path)
    has_heads = isinstance(config, EngineConfig) and config.speculation == "mtp"
    params = replace(
        model_params or ModelParams(), no_alloc=True, load_mode="none", load_mtp=has_heads
    )
    with Model(path, params) as model, _make_context(model, config) as context:
        report, heads = MemoryReport.of(context), None
        if has_heads:
            drafts, _ = make_head_context(model, context, context.n_ctx)
            with drafts:
                heads = MemoryReport.of(drafts).without_weights
            report = report.plus(heads)
        return MemoryEstimate(
            report, context.n_ctx, model.n_ctx_train, model.n_layer, context.params, heads
        )


def estimate_draft(
    path: str | Path,
    model_params: ModelParams,
    target: str | Path,
    target_params: ModelParams,
    config: EngineConfig,
) -> MemoryReport:
    """Return the memory of the draft model at `path` for the model at `target`.

    `config` is that of the model's engine, with its `n_ctx`. The draft model's context has as many
    cells. Raises ModelLoadError, ContextCreateError, or InvalidParameterError if its heads were
    made for another model.
    """
    alone = replace(config, kv_unified=True, speculative="off", draft_model=None)
    if not reads_hidden_states(Path(path)):
        return estimate_memory(path, model_params, alone).report
    with (
        Model(target, replace(target_params, no_alloc=True, load_mode="none")) as model,
        make_context(model, config) as context,
        Model(path, replace(model_params, no_alloc=True, load_mode="none", load_mtp=True)) as draft,
    ):
        drafts, _ = make_head_context(draft, context, context.n_ctx)
        with drafts:
            return MemoryReport.of(drafts)


def _make_context(model: Model, config: EngineConfig | EmbeddingConfig | None) -> Context:
    if isinstance(config, EmbeddingConfig):
        from llamabind.embedding.engine import embedding_traits  # most models generate text

        return Context(model, config.context_params(embedding_traits(model)))
    return make_context(model, config or EngineConfig())
