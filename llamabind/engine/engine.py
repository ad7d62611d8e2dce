"""Engine: a loaded model that answers many requests at once."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

from llamabind.chat.template import ChatTemplate
from llamabind.checks import check_float
from llamabind.context.batch import Batch
from llamabind.context.compute_threads import ComputeThreads
from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.engine.config import EngineConfig
from llamabind.engine.core import EngineCore
from llamabind.engine.runner import ModelRunner
from llamabind.engine.shape import EngineShape
from llamabind.engine.speculation_setup import make_speculation
from llamabind.errors import InvalidParameterError, LlamaError, ModelLoadError
from llamabind.kv_cache.host_cache import StateSize
from llamabind.media.positions import newest_position
from llamabind.native.lora import LoraAdapter
from llamabind.native.model import Model
from llamabind.sampling.sampler import check_grammar
from llamabind.scheduling.step_budget import LONGEST_GAP, LONGEST_GAP_ON_GPU
from llamabind.speculation.model_drafter import ModelDrafter
from llamabind.system.closing import Closing
from llamabind.system.cpus import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from llamabind.context.params import ContextParams
    from llamabind.native.model_params import ModelParams
    from llamabind.sampling.params import SamplingParams
    from llamabind.speculation.planner import SpeculationPlanner

DEBUG_VARIABLE = "LLAMABIND_DEBUG"
"""Set to anything, engines check their books whenever nothing runs, and fail if they are wrong."""

_WARM_UP_PROMPT = 64

CPU_ATTENTION_TILE = 64
"""GGML_FA_TILE_Q of ggml/src/ggml-cpu/common.h."""

_STATE_SAMPLE = 8
_CALIBRATION_SECONDS = 0.5


class Engine(EngineCore, Closing):
    """An EngineCore over a model and a context of its own; close() frees all of it.

    `tokenizer` and `chat_template` may be used on any thread while the engine is open;
    `chat_template` is None for a model without a template that can be used. `memory` is what it
    takes, by device; `adapter_scales` are those of `adapters`.
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
        # The model closes them, for which they have to live as long.
        self.adapters: tuple[LoraAdapter, ...] = ()
        self.adapter_scales: tuple[float, ...] = ()
        runner = self._model_runner = ModelRunner(model, context, threads)
        self._resources = ExitStack()
        self._resources.callback(model.close)
        self._resources.callback(threads.close)
        self._resources.callback(context.close)
        self._resources.callback(runner.close)
        if template is not None:
            self._resources.callback(template.close)
        if speculation is not None:
            if isinstance(speculation.drafter, ModelDrafter):
                self.memory = self.memory.plus(MemoryReport.of(speculation.drafter.context))
            self._resources.callback(speculation.close)
        super().__init__(runner, model.tokenizer, shape, speculation=speculation)

    def check_grammar(self, params: SamplingParams) -> None:
        """Raise GrammarError if sampling with these parameters would be refused. Any thread."""
        check_grammar(self.model, params)

    def close(self) -> None:
        """Free the samplers, the context and the model, in this order; a second call does nothing.

        The engine must not be stepping; see EngineThread.close.
        """
        self._resources.close()

    def set_adapter_scales(
        self, scales: Sequence[float], done: Callable[[Exception | None], None]
    ) -> None:
        """Apply the adapters with these scales, one for each, once what runs has ended.

        `done` is called then, with the error if there was one. Raises InvalidParameterError.
        """
        if len(scales) != len(self.adapters):
            raise InvalidParameterError(
                "lora", f"{len(scales)} scales, but the model has {len(self.adapters)} adapters"
            )
        for scale in scales:
            check_float("scale", scale)
        if tuple(scales) == self.adapter_scales and not self._changes:
            done(None)
        else:
            self.change_when_quiet(partial(self._apply_scales, tuple(scales), done))

    def _apply_scales(
        self, scales: tuple[float, ...], done: Callable[[Exception | None], None]
    ) -> None:
        pairs = zip(self.adapters, scales, strict=True)
        try:
            self.context.set_lora([(adapter, scale) for adapter, scale in pairs if scale])
        except LlamaError as error:
            done(error)
            return
        self.adapter_scales = scales
        done(None)

    def flush_memory(self) -> None:
        """Have llama.cpp's memory be what the books say, which else the next step sees to."""
        sizes = self._model_runner.carry_out(self.slots.take_operations())
        self._scheduler.confirm_saved(sizes)

    def check_idle(self) -> None:
        """As EngineCore.check_idle; llama.cpp's memory must hold what our books say, too."""
        super().check_idle()
        if self.slots.operations:
            return  # the next step carries them out first
        for slot in self.slots:
            last = self.context.memory_seq_pos_max(slot.seq_id)
            expected = newest_position(slot.tokens)
            assert last == expected, (
                f"sequence {slot.seq_id} ends at position {last}, it should at {expected}"
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

    `progress` gets 0.0 to 1.0 and cancels the load by returning False. `chat_template` replaces the
    file's own. `lora` are files of adapters with their scales. Raises ModelLoadError,
    ContextCreateError (no memory for the context), AdapterError, or ChatTemplateError (only for a
    template given here: a broken one in the file leaves the engine without a template).
    """
    config = config or EngineConfig()
    with ExitStack() as undo:
        model = undo.enter_context(Model(path, model_params, progress))
        context = undo.enter_context(make_context(model, config))
        _check_generates(context)
        adapters = [(LoraAdapter(model, file), scale) for file, scale in lora]
        context.set_lora([(adapter, scale) for adapter, scale in adapters if scale])
        threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, n_max=usable_cores()
        )
        undo.callback(threads.close)
        n_warm, seconds = _warm_up(context, threads)
        template = _make_template(model, chat_template)
        shape = _shape(model, context, config)
        speculation = make_speculation(model, shape, config, threads)
        engine = Engine(model, context, threads, template, shape, speculation)
        engine.expect_prompts(n_warm, seconds)
        engine.adapters = tuple(adapter for adapter, _ in adapters)
        engine.adapter_scales = tuple(scale for _, scale in adapters)
        undo.pop_all()
    return engine


def make_context(model: Model, config: EngineConfig) -> Context:
    """Return the context that an engine of `config` gives a model."""
    swa_full = config.takes_swa_full(model.n_swa, model.n_ctx_train)
    # Sequence ids of their own for what is retained: a window or a recurrent state for each of them
    # would cost more than restoring a checkpoint.
    retains = _is_cuttable(model, swa_full=swa_full)
    return Context(
        model, config.context_params(model.n_ctx_train, retains=retains, swa_full=swa_full)
    )


def _shape(model: Model, context: Context, config: EngineConfig) -> EngineShape:
    is_on_gpu = MemoryReport.of(context).has_weights_on_gpu
    is_cuttable = _is_cuttable(model, swa_full=context.params.swa_full)
    return EngineShape(
        n_ctx=min(context.n_ctx_seq, model.n_positions or context.n_ctx_seq),
        # Recurrent layers have no cells: nobody's length takes room from others.
        n_cells=context.n_ctx_seq * context.n_seq_max if model.is_recurrent else context.n_ctx,
        n_batch=context.n_batch,
        n_ubatch=context.n_ubatch,
        n_slots=context.n_seq_max,
        n_parallel=min(config.n_parallel, context.n_seq_max),
        n_vocab=model.n_vocab,
        kv_unified=config.kv_unified,
        is_cuttable=is_cuttable,
        is_checkpoint_partial=not is_cuttable and context.copies_prefixes,
        cache_ram_bytes=config.cache_ram_bytes,
        state_size=_measure_state(context),
        max_waiting=config.max_waiting,
        attention_tile=None if is_on_gpu else _attention_tile(context.params),
        max_gap=LONGEST_GAP_ON_GPU if is_on_gpu else LONGEST_GAP,
        debug=bool(os.environ.get(DEBUG_VARIABLE)),
    )


def _attention_tile(params: ContextParams) -> int | None:
    """See EngineShape. Only flash attention has tiles, and not over a quantised cache."""
    is_float = params.type_k == params.type_v and params.type_k in ("f16", "f32")
    is_tiled = params.flash_attn != "off" and is_float
    return CPU_ATTENTION_TILE if is_tiled else None


def _is_cuttable(model: Model, *, swa_full: bool) -> bool:
    """Tell whether the memory of a sequence can be cut at any position, as prefix sharing needs.

    A recurrent state has only its newest position (llama-memory-recurrent.cpp), and a sliding
    window not of full size only the newest few, though llama_memory_seq_rm says that it was cut.
    """
    return not model.is_recurrent and not model.is_hybrid and (model.n_swa == 0 or swa_full)


def _measure_state(context: Context) -> StateSize:
    """Save a short sequence to know what a long one will take."""
    n_tokens = min(_STATE_SAMPLE, context.n_batch, context.model.n_positions or _STATE_SAMPLE)
    with closing(Batch(n_tokens)) as batch:
        batch.extend([0] * n_tokens, 0, 0, output_last=True)
        context.decode(batch)
    full = context.state_seq_size(0)
    fixed = context.state_seq_size(0, partial_only=True)
    context.memory_clear()
    if full == fixed and not context.model.is_recurrent:
        fixed = 0
    return StateSize(fixed, (full - fixed) // n_tokens)


def _check_generates(context: Context) -> None:
    model = context.model
    if not model.has_decoder or model.has_encoder or not context.has_memory:
        raise ModelLoadError(
            "unsupported_architecture",
            f"{model.architecture} models do not generate text by decoding",
        )


def _warm_up(context: Context, threads: ComputeThreads) -> tuple[int, float]:
    """Decode, so that a device that cannot compute fails the load and not a request; and find out
    how many threads to begin with. Return of how many tokens the last decode was, and its seconds.
    """
    n_tokens, seconds = 0, 0.0
    longest = context.model.n_positions or _WARM_UP_PROMPT
    for n_tokens in (1, min(_WARM_UP_PROMPT, context.n_ubatch, longest)):
        with closing(Batch(n_tokens)) as batch:
            batch.extend([0] * n_tokens, 0, 0, output_last=True)
            decode = partial(_decode_and_forget, context, batch)
            started = time.perf_counter()
            decode()
            seconds = time.perf_counter() - started
            threads.calibrate(n_tokens, decode, _CALIBRATION_SECONDS)
        if seconds * _WARM_UP_PROMPT > _CALIBRATION_SECONDS:
            # A model so slow that trying prompts would make the load much longer.
            break
    return n_tokens, seconds


def _decode_and_forget(context: Context, batch: Batch) -> None:
    context.decode(batch)
    context.synchronize()
    context.memory_clear()


def _make_template(model: Model, override: str | None) -> ChatTemplate:
    """The model's template; one without any gets ChatML (ChatTemplate.is_explicit is False)."""
    return ChatTemplate(model, override)
