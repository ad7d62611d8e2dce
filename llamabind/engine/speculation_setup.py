"""Sets up speculative decoding from an EngineConfig."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind.context.batch import Batch
from llamabind.context.compute_threads import ComputeThreads
from llamabind.context.context import Context
from llamabind.engine.head_setup import make_head_drafter, reads_hidden_states
from llamabind.errors import InvalidParameterError
from llamabind.native.model import Model
from llamabind.speculation.draft_vocabulary import check_draft_vocabulary
from llamabind.speculation.model_drafter import ModelDrafter
from llamabind.speculation.ngram_drafter import NgramDrafter
from llamabind.speculation.planner import SpeculationPlanner
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from llamabind.engine.config import EngineConfig
    from llamabind.engine.shape import EngineShape
    from llamabind.speculation.planner import Drafter

logger = logging.getLogger(__name__)


def make_speculation(
    context: Context, shape: EngineShape, config: EngineConfig, threads: ComputeThreads
) -> SpeculationPlanner | None:
    """Return the planner of drafts for an engine's context, or None without speculative decoding.

    `threads` are the engine's. Raises what loading the draft model raises, and
    InvalidParameterError for one that cannot draft for the engine's model.
    """
    if config.speculation == "off":
        return None
    if not shape.can_remove(config.max_draft):
        logger.warning(
            "speculative decoding is off: %s models cannot remove rejected draft tokens",
            context.model.architecture,
        )
        return None
    drafter: Drafter
    if config.speculation == "mtp":
        drafter = make_head_drafter(context.model, context, shape.n_cells, config, threads)
    elif config.draft_model is None or config.speculation == "ngram":
        drafter = NgramDrafter(config.ngram_size)
    else:
        drafter = _load_drafter(config.draft_model, context, shape, config, threads)
    return SpeculationPlanner(drafter, n_max=config.max_draft, n_min=config.draft_min)


def _load_drafter(
    path: str | Path,
    target: Context,
    shape: EngineShape,
    config: EngineConfig,
    threads: ComputeThreads,
) -> Drafter:
    model = target.model
    has_heads = reads_hidden_states(Path(path))
    params = replace(
        model.params, n_gpu_layers=config.draft_gpu_layers, kv_overrides=(), load_mtp=has_heads
    )
    with ExitStack() as undo:
        draft = undo.enter_context(Model(path, params))
        check_draft_vocabulary(model, draft)
        if has_heads:
            drafter = make_head_drafter(draft, target, shape.n_cells, config, threads)
            undo.pop_all()
            return drafter
        _check_drafts(draft)
        # As many cells as the engine has, so that the draft model can read all running sequences.
        sizes = replace(config, n_ctx=shape.n_cells, kv_unified=True)
        context_params = sizes.context_params(draft.n_ctx_train, retains=True)
        context = undo.enter_context(Context(draft, context_params))
        own_threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, usable_cores(), owner=threads
        )
        _warm_up(context)
        small = ModelDrafter(
            context, own_threads, n_target_vocab=model.n_vocab, p_min=config.draft_p_min
        )
        undo.pop_all()
    return small


def _check_drafts(draft: Model) -> None:
    if not draft.has_decoder or draft.has_encoder or draft.is_recurrent or draft.is_hybrid:
        raise InvalidParameterError(
            "draft_model", f"{draft.architecture} models cannot remove rejected draft tokens"
        )


def _warm_up(context: Context) -> None:
    """Decode once, so that a device that cannot compute fails the load and not a request."""
    with closing(Batch(1)) as batch:
        batch.add(0, 0, 0, output=True)
        context.decode(batch)
        context.synchronize()
        context.memory_clear()
