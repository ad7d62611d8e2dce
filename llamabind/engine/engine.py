"""Engine: a loaded model that answers many requests at once, and how it is loaded."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from llamabind.chat.template import ChatTemplate
from llamabind.checks import check_float
from llamabind.context.batch import Batch
from llamabind.context.compute_threads import ComputeThreads
from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.engine.config import BegunLoad, EngineConfig, begin_load
from llamabind.engine.core import EngineCore
from llamabind.engine.runner import ModelRunner
from llamabind.engine.shape import EngineShape
from llamabind.engine.speculation_setup import make_speculation
from llamabind.errors import ChatTemplateError, InvalidParameterError, ModelLoadError
from llamabind.kv_cache.host_cache import StateSize
from llamabind.kv_cache.window import CacheWindow
from llamabind.media.positions import newest_position
from llamabind.native.lora import LoraAdapter
from llamabind.native.model import Model
from llamabind.sampling.sampler import check_grammar
from llamabind.scheduling.step_budget import LONGEST_GAP, LONGEST_GAP_ON_GPU
from llamabind.speculation.head_drafter import HeadDrafter
from llamabind.speculation.model_drafter import ModelDrafter
from llamabind.system.closing import Closing
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from llamabind.context.params import ContextParams
    from llamabind.context.saved_state import SavedState
    from llamabind.native.model_params import ModelParams
    from llamabind.sampling.params import SamplingParams
    from llamabind.speculation.planner import SpeculationPlanner
    from llamabind.system.file_fingerprint import FileStamp

DEBUG_VARIABLE = "LLAMABIND_DEBUG"
"""If this environment variable is set, engines check that no cell or request is lost when idle."""

CPU_ATTENTION_TILE = 64
"""GGML_FA_TILE_Q of ggml/src/ggml-cpu/common.h."""

_STATE_SAMPLE = 8
_CALIBRATION_SECONDS = 0.5


class Engine(EngineCore, Closing):
    """An EngineCore with its own model and context; close() frees all of it.

    `tokenizer` and `chat_template` may be used on any thread while the engine is open. `memory` is
    the memory in use on each device; `adapter_scales` has one scale for each of `adapters`.
    `config` is the one that it was loaded with; with a `cache_dir`, `files` are the files of the
    model and of the adapters.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        threads: ComputeThreads,
        template: ChatTemplate | None,
        shape: EngineShape,
        speculation: SpeculationPlanner | None = None,
    ) -> None:
        self.model = model
        self.context = context
        self.tokenizer = model.tokenizer
        self.chat_template = template
        self.memory = MemoryReport.of(context)
        self.config = EngineConfig()
        self.files: tuple[FileStamp, ...] = ()
        # The model closes its adapters but does not keep them alive, so they are kept here.
        self.adapters: tuple[LoraAdapter, ...] = ()
        runner = self._model_runner = ModelRunner(model, context, threads)
        self._resources = ExitStack()
        self._resources.callback(model.close)
        self._resources.callback(threads.close)
        self._resources.callback(context.close)
        self._resources.callback(runner.close)
        if template is not None:
            self._resources.callback(template.close)
        if speculation is not None:
            drafter = speculation.drafter
            if isinstance(drafter, (ModelDrafter, HeadDrafter)):
                report = MemoryReport.of(drafter.context)
                is_other = drafter.context.model is not model
                self.memory = self.memory.plus(report if is_other else report.without_weights)
            if isinstance(drafter, HeadDrafter):
                runner.follower = drafter
            self._resources.callback(speculation.close)
        super().__init__(runner, model.tokenizer, shape, speculation=speculation)
        if shape.window:
            self.slots.set_window(CacheWindow(shape.window, runner.first_position))

    def check_grammar(self, params: SamplingParams) -> None:
        """Raise GrammarError if no sampler can be made for the grammar of `params`. Any thread."""
        check_grammar(self.model, params)

    def close(self) -> None:
        """Free the samplers, the context and the model, in this order; a second call does nothing.

        No step may be running: EngineThread.close must return first.
        """
        self._resources.close()

    def use_adapters(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> None:
        """Set the adapters and their scales; before the first request."""
        self.adapters = self._model_runner.adapters = tuple(adapter for adapter, _ in adapters)
        self.adapter_scales = tuple(scale for _, scale in adapters)

    def set_adapter_scales(self, scales: Sequence[float]) -> None:
        """Set the scale of each adapter for requests that are added later without `lora`.

        Running requests keep theirs. Raises InvalidParameterError.
        """
        if len(scales) != len(self.adapters):
            raise InvalidParameterError(
                "lora",
                f"expected scales for {len(self.adapters)} adapters, but got {len(scales)}",
            )
        for scale in scales:
            check_float("scale", scale)
        self.adapter_scales = tuple(scales)

    def flush_memory(self) -> None:
        """Carry out the pending memory operations now instead of before the next decode."""
        sizes = self._model_runner.carry_out(self.slots.take_operations())
        self._scheduler.confirm_saved(sizes)

    def hold_state(self, state_id: int, state: SavedState) -> None:
        """Hold the bytes of a state that the host cache has adopted. Engine thread only."""
        self._model_runner.memory.adopt(state_id, state)

    def held_state(self, state_id: int) -> SavedState:
        """Return the bytes of a state of the host cache. Engine thread only."""
        return self._model_runner.memory.state(state_id)

    def check_idle(self) -> None:
        """As EngineCore.check_idle; llama.cpp's sequences must also end where our slots end."""
        super().check_idle()
        if self.slots.operations:
            return  # pending operations: llama.cpp's memory may differ until the next step
        for slot in self.slots:
            last = self.context.memory_seq_pos_max(slot.seq_id)
            expected = newest_position(slot.tokens)
            assert last == expected, (
                f"sequence {slot.seq_id} ends at position {last}, expected {expected}"
            )


def load_engine(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EngineConfig | None = None,
    progress: Callable[[float], bool] | None = None,
    chat_template: str | None = None,
    lora: Sequence[tuple[str | Path, float]] = (),
) -> Engine:
    """Load a GGUF file and make an engine that is ready to step.

    `progress` is called with 0.0 to 1.0 and cancels the load by returning False. `chat_template`
    replaces the one in the file. `lora` are adapter files with their scales. Raises ModelLoadError,
    ContextCreateError (such as for lack of memory), AdapterError, or ChatTemplateError (a template,
    given here or in the file, that cannot be parsed).
    """
    begun = begin_load(path, model_params, config, [file for file, _ in lora])
    return make_engine(Model(path, begun.model_params, progress), begun, chat_template, lora)


def make_engine(
    model: Model,
    begun: BegunLoad,
    chat_template: str | None = None,
    lora: Sequence[tuple[str | Path, float]] = (),
) -> Engine:
    """Make the engine of a model that was loaded as `begun` says; the engine owns it.

    Arguments and errors as for load_engine. The model is closed if the engine cannot be made.
    """
    config = begun.config
    with ExitStack() as undo:
        undo.enter_context(model)
        context = undo.enter_context(make_context(model, config))
        _check_generates(context)
        adapters = [(LoraAdapter(model, file), scale) for file, scale in lora]
        threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, n_max=usable_cores()
        )
        undo.callback(threads.close)
        warm = _warm_up(context, threads)
        template = _make_template(model, chat_template)
        shape = _shape(model, context, config, warm.state_size)
        speculation = make_speculation(context, shape, config, threads)
        engine = Engine(model, context, threads, template, shape, speculation)
        engine.learn_prompt_speed(warm.n_tokens, warm.seconds)
        engine.use_adapters(adapters)
        engine.config, engine.files = config, begun.files
        undo.pop_all()
    return engine


def make_context(model: Model, config: EngineConfig) -> Context:
    """Return a context for `model` as an engine with `config` makes it."""
    swa_full = config.takes_swa_full(model.n_swa, model.n_ctx_train)
    # Extra sequence ids for retained prefixes only pay if the memory can be cut: otherwise each id
    # would hold a window or a recurrent state, which costs more than restoring a checkpoint.
    retains = _is_cuttable(model, swa_full=swa_full)
    params = config.context_params(model.n_ctx_train, retains=retains, swa_full=swa_full)
    if config.speculation in ("draft", "mtp") and model.is_hybrid:
        # Rejected draft tokens are removed by returning to an older recurrent state.
        params = replace(params, n_rs_seq=config.max_draft)
    return Context(model, params)


def _shape(
    model: Model, context: Context, config: EngineConfig, state_size: StateSize
) -> EngineShape:
    is_on_gpu = MemoryReport.of(context).has_weights_on_gpu
    is_cuttable = _is_cuttable(model, swa_full=context.params.swa_full)
    return EngineShape(
        n_ctx=min(context.n_ctx_seq, model.n_positions or context.n_ctx_seq),
        # Recurrent layers have no cells, so a long sequence takes nothing from the others.
        n_cells=context.n_ctx_seq * context.n_seq_max if model.is_recurrent else context.n_ctx,
        n_batch=context.n_batch,
        n_ubatch=context.n_ubatch,
        n_slots=context.n_seq_max,
        n_parallel=min(config.n_parallel, context.n_seq_max),
        n_vocab=model.n_vocab,
        kv_unified=config.kv_unified,
        is_cuttable=is_cuttable,
        n_rollback=context.n_rs_seq,
        is_checkpoint_partial=not is_cuttable and context.copies_prefixes,
        window=model.n_swa if is_cuttable else 0,
        cache_ram_bytes=config.cache_ram_bytes,
        state_size=state_size,
        max_waiting=config.max_waiting,
        context_shift=config.context_shift,
        attention_tile=None if is_on_gpu else _attention_tile(context.params),
        has_own_tiles=context.has_our_attention,
        max_gap=LONGEST_GAP_ON_GPU if is_on_gpu else LONGEST_GAP,
        debug=bool(os.environ.get(DEBUG_VARIABLE)),
    )


def _attention_tile(params: ContextParams) -> int | None:
    """Return EngineShape.attention_tile: flash attention over f16 or f32 has tiles."""
    is_float = params.type_k == params.type_v and params.type_k in ("f16", "f32")
    is_tiled = params.flash_attn != "off" and is_float
    return CPU_ATTENTION_TILE if is_tiled else None


def _is_cuttable(model: Model, *, swa_full: bool) -> bool:
    """True if a sequence's memory can be cut at any position, as sharing prefixes requires.

    A recurrent state has only its newest position (llama-memory-recurrent.cpp), and a small
    sliding-window cache only the newest few, although llama_memory_seq_rm reports success.
    """
    return not model.is_recurrent and not model.is_hybrid and (model.n_swa == 0 or swa_full)


def _check_generates(context: Context) -> None:
    model = context.model
    if not model.has_decoder or model.has_encoder or not context.has_memory:
        raise ModelLoadError(
            "unsupported_architecture",
            f"{model.architecture} models do not generate text by decoding",
        )


@dataclass(frozen=True, slots=True)
class _WarmUp:
    """The size of a sequence's state, and the seconds that the decode of `n_tokens` took."""

    state_size: StateSize
    n_tokens: int
    seconds: float


def _warm_up(context: Context, threads: ComputeThreads) -> _WarmUp:
    """Decode just enough to show that the device can compute, and how fast.

    A device that cannot compute thus fails the load instead of the first request. The number of
    threads is measured only for decodes of one token, whose speed memory limits; decodes of prompts
    begin with all cores, and ThreadTuner tries other numbers soon. No longer prompt is decoded: it
    would delay the first answer, and beside other busy programs a load would spend most of its time
    in decodes whose threads wait for each other. StepBudget learns from the first requests instead.
    """
    n_tokens = min(_STATE_SAMPLE, context.n_batch, context.model.n_positions or _STATE_SAMPLE)
    threads.prepare(n_tokens)
    seconds = _decode(context, n_tokens)
    state_size = _measure_state(context, n_tokens)
    context.memory_clear()
    threads.calibrate(1, partial(_decode_one, context), _CALIBRATION_SECONDS)
    return _WarmUp(state_size, n_tokens, seconds)


def _decode(context: Context, n_tokens: int) -> float:
    """Decode a sequence of `n_tokens`; returns the seconds."""
    with closing(Batch(n_tokens)) as batch:
        batch.extend([0] * n_tokens, 0, 0, output_last=True)
        started = time.perf_counter()
        context.decode(batch)
        context.synchronize()
        return time.perf_counter() - started


def _decode_one(context: Context) -> None:
    _decode(context, 1)
    context.memory_clear()


def _measure_state(context: Context, n_tokens: int) -> StateSize:
    """The size of the state of a sequence of `n_tokens`, to estimate that of longer ones."""
    full = context.state_seq_size(0)
    fixed = context.state_seq_size(0, partial_only=True)
    if full == fixed and not context.model.is_recurrent:
        fixed = 0
    return StateSize(fixed, (full - fixed) // n_tokens)


def _make_template(model: Model, override: str | None) -> ChatTemplate:
    """Return the template; ChatML if the model has none (ChatTemplate.is_explicit is False)."""
    try:
        return ChatTemplate(model, override)
    except ChatTemplateError as error:
        if override is not None:
            raise
        raise ChatTemplateError(
            f"the template in the model's file cannot be used: {error}; load the model with "
            'another chat_template, such as "chatml"'
        ) from error
