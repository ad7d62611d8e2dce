"""Makes the drafters that read a model's hidden states: its own heads, or a draft model of them."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from llamabind.context.compute_threads import ComputeThreads
from llamabind.context.context import Context
from llamabind.context.hidden_states import (
    FusedLayers,
    HiddenBatch,
    HiddenStates,
    target_layers,
)
from llamabind.errors import GgufError, InvalidParameterError
from llamabind.gguf.draft_heads import find_draft_heads
from llamabind.gguf.header import read_gguf_header
from llamabind.native.load_failure import shards
from llamabind.speculation.head_drafter import HeadDrafter
from llamabind.speculation.head_memory import HeadLayout
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from pathlib import Path

    from llamabind.context.params import ContextParams
    from llamabind.engine.config import EngineConfig
    from llamabind.native.model import Model
    from llamabind.speculation.head_drafter import StateReader

ASSISTANT = "gemma4-assistant"
"""Drafts for Gemma 4 and reads its KV cache."""

EAGLE3 = "eagle3"


def reads_hidden_states(path: Path) -> bool:
    """True if a draft model's file has heads that read the hidden states of the model they serve.

    These are Gemma 4's assistants, EAGLE-3, and the MTP heads of a model in a file of their own.
    """
    try:
        files = shards(path)
        if read_gguf_header(files[0]).architecture in (ASSISTANT, EAGLE3):
            return True
        heads = find_draft_heads(files)
    except GgufError:
        return False  # loading the file reports what is wrong with it
    return heads is not None and heads.is_alone


def head_context_params(target: ContextParams, n_ctx: int) -> ContextParams:
    """Return the parameters of the context that computes the heads of a model.

    It has a cell for each of the model's `n_ctx` cells, shared by all sequences.
    """
    n_batch = max(target.n_ubatch, target.n_seq_max)
    return replace(
        target,
        kind="mtp",
        n_ctx=n_ctx,
        n_batch=n_batch,
        n_ubatch=n_batch,
        n_outputs_max=target.n_seq_max,
        n_rs_seq=0,
        kv_unified=True,
        swa_full=True,
    )


def make_head_drafter(
    draft: Model, target: Context, n_cells: int, config: EngineConfig, threads: ComputeThreads
) -> HeadDrafter:
    """Return a drafter over the heads of `draft`: the target's model itself, or one that serves it.

    Raises InvalidParameterError for a draft model that does not fit the target's model,
    ContextCreateError, and DecodeError if the device cannot compute the heads.
    """
    params, layout, other = head_context_params(target.params, n_cells), HeadLayout.OWN, None
    if draft.architecture == ASSISTANT:
        _check_assistant(draft, target.model)
        layout, other = HeadLayout.SHARED, target
        params = replace(
            params,
            n_ctx=target.n_ctx,
            kv_unified=target.params.kv_unified,
            swa_full=target.params.swa_full,
        )
    elif draft.architecture == EAGLE3:
        layout, other = HeadLayout.AHEAD, target
        params = replace(params, kind="default")
    elif draft.n_embd_out != target.model.n_embd_out:
        raise _misfit(draft, "width", draft.n_embd_out, target.model.n_embd_out)
    with ExitStack() as undo:
        context = undo.enter_context(Context(draft, params, other))
        reader: StateReader
        if layout is HeadLayout.AHEAD:
            reader = FusedLayers(target, context, _eagle_layers(draft, target.model))
        else:
            reader = HiddenStates(target, only_outputs=False)
        own_threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, usable_cores(), owner=threads
        )
        drafter = HeadDrafter(
            context,
            target,
            reader,
            own_threads,
            p_min=config.draft_p_min,
            layout=layout,
        )
        if layout is not HeadLayout.SHARED:
            _warm_up(context, drafter.width)
        undo.pop_all()
    return drafter


def _check_assistant(draft: Model, model: Model) -> None:
    if model.architecture != "gemma4":
        raise InvalidParameterError(
            "draft_model",
            f"it drafts for gemma4 models only, but the model is {model.architecture}",
        )
    if draft.n_embd_out != model.n_embd_out:
        raise _misfit(draft, "width", draft.n_embd_out, model.n_embd_out)


def _eagle_layers(draft: Model, model: Model) -> tuple[int, ...]:
    layers = target_layers(draft)
    if not layers or min(layers) < 0 or max(layers) > model.n_layer:
        raise _misfit(draft, "layers", layers, f"0 to {model.n_layer}")
    width = int(draft.metadata.get(f"{EAGLE3}.target_hidden_size", model.n_embd))
    if width != model.n_embd:
        raise _misfit(draft, "width", width, model.n_embd)
    return layers


def _misfit(draft: Model, what: str, theirs: object, ours: object) -> InvalidParameterError:
    return InvalidParameterError(
        "draft_model",
        f"{draft.path.name} was made for another model: its {what} is {theirs}, the model's {ours}",
    )


def _warm_up(context: Context, width: int) -> None:
    """Decode once, so that a device that cannot compute fails the load and not a request."""
    context.needs_encode = False
    with closing(HiddenBatch(1, width)) as batch:
        batch.add(0, 0, 0, output=True)
        context.decode(batch)
        context.synchronize()
        context.memory_clear()
