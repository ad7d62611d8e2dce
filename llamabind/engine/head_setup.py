"""Makes the drafters that read a model's hidden states: its own heads, or a draft model."""

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
from llamabind.gguf.known_header import known_gguf_header
from llamabind.native.load_failure import shards
from llamabind.speculation.head_drafter import HeadDrafter
from llamabind.speculation.head_memory import HeadLayout
from llamabind.speculation.planner import MAX_ROWS
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from pathlib import Path

    from llamabind.engine.config import EngineConfig
    from llamabind.native.model import Model
    from llamabind.speculation.head_drafter import StateReader

ASSISTANT = "gemma4-assistant"
"""Drafts for Gemma 4 and reads its KV cache."""

EAGLE3 = "eagle3"

EAGLE3_TARGETS = frozenset(
    {
        "gemma4",
        "gpt-oss",
        "lfm2",
        "llama",
        "minimax-m2",
        "qwen3",
        "qwen35",
        "qwen35moe",
        "qwen3moe",
        "qwen3next",
    }
)
"""Models whose graphs keep the input of each layer (t_layer_inp); llama.cpp aborts on others."""


_SPARE_CELLS = 256
"""Cells for draft tokens when the model's cache is full; llama.cpp allocates them 256 at a time."""


def reads_hidden_states(path: Path) -> bool:
    """True if a draft model's file has heads that read the hidden states of the model they serve.

    These are Gemma 4's assistants, EAGLE-3, and the MTP heads of a model in a file of their own.
    """
    try:
        files = shards(path)
        if known_gguf_header(files[0]).architecture in (ASSISTANT, EAGLE3):
            return True
        heads = find_draft_heads(files)
    except GgufError:
        return False  # loading the file reports its fault
    return heads is not None and heads.is_alone


def make_head_context(draft: Model, target: Context, n_cells: int) -> tuple[Context, HeadLayout]:
    """Return the context that computes the heads of `draft`, and the layout of their KV cells.

    `draft` is the target's model itself, or a draft model for it. The heads have a cell for each of
    the target's `n_cells` and 256 more, shared by all sequences. Raises ContextCreateError, and
    InvalidParameterError if the draft model does not fit the target's model.
    """
    ours = target.params
    n_batch = max(ours.n_ubatch, ours.n_seq_max)
    params = replace(
        ours,
        kind="mtp",
        n_ctx=n_cells + _SPARE_CELLS,
        n_batch=n_batch,
        n_ubatch=n_batch,
        n_outputs_max=min(n_batch, max(MAX_ROWS, ours.n_seq_max)),
        n_rs_seq=0,
        kv_unified=True,
        swa_full=True,
    )
    if draft.architecture == EAGLE3:
        _check_layers(draft, target.model)
        return Context(draft, replace(params, kind="default"), target), HeadLayout.AHEAD
    if draft.architecture == ASSISTANT and target.model.architecture != "gemma4":
        raise _misfit(draft, "architecture", "gemma4", target.model.architecture)
    if draft.n_embd_out != target.model.n_embd_out:
        raise _misfit(draft, "width", draft.n_embd_out, target.model.n_embd_out)
    if draft.architecture != ASSISTANT:
        return Context(draft, params), HeadLayout.OWN
    params = replace(params, n_ctx=target.n_ctx, kv_unified=ours.kv_unified, swa_full=ours.swa_full)
    return Context(draft, params, target), HeadLayout.SHARED


def make_head_drafter(
    draft: Model, target: Context, n_cells: int, config: EngineConfig, threads: ComputeThreads
) -> HeadDrafter:
    """Return a drafter that uses the heads of `draft` in the context of make_head_context.

    Raises the errors of that function, and DecodeError if the device cannot compute the heads.
    """
    with ExitStack() as undo:
        context, layout = make_head_context(draft, target, n_cells)
        undo.enter_context(context)
        reader: StateReader
        if layout is HeadLayout.AHEAD:
            reader = FusedLayers(target, context, target_layers(draft))
        else:
            reader = HiddenStates(target, only_outputs=False)
        own_threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, usable_cores(), owner=threads
        )
        drafter = HeadDrafter(
            context, target, reader, own_threads, p_min=config.draft_p_min, layout=layout
        )
        if layout is not HeadLayout.SHARED:
            _warm_up(context, drafter.width)
        undo.pop_all()
    return drafter


def _check_layers(draft: Model, model: Model) -> None:
    if model.architecture not in EAGLE3_TARGETS:
        raise InvalidParameterError(
            "draft_model",
            f"this llama.cpp has no EAGLE-3 for {model.architecture} models; use a draft model of "
            "another kind",
        )
    layers = target_layers(draft)
    if not layers or min(layers) < 0 or max(layers) >= model.n_layer:
        raise _misfit(draft, "layers", layers, f"0 to {model.n_layer - 1}")
    width = int(draft.metadata.get(f"{EAGLE3}.target_hidden_size", model.n_embd))
    if width != model.n_embd:
        raise _misfit(draft, "width", width, model.n_embd)


def _misfit(draft: Model, what: str, theirs: object, ours: object) -> InvalidParameterError:
    return InvalidParameterError(
        "draft_model",
        f"{draft.path.name} was made for another model: it expects {what} {theirs}, but the model "
        f"has {ours}; use a draft model that was made for this model",
    )


def _warm_up(context: Context, width: int) -> None:
    """Decode once, so that a device that cannot compute fails the load and not a request."""
    context.needs_encode = False
    with closing(HiddenBatch(1, width)) as batch:
        batch.add(0, 0, 0, output=True)
        context.decode(batch)
        context.synchronize()
        context.memory_clear()
