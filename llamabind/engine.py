"""Engine: a loaded model that answers many requests at once."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Self

from llamabind.batch import Batch
from llamabind.chat_template import ChatTemplate
from llamabind.compute_threads import ComputeThreads
from llamabind.context import Context
from llamabind.engine_config import EngineConfig, usable_cores
from llamabind.engine_core import EngineCore, EngineShape
from llamabind.errors import ModelLoadError
from llamabind.memory_report import MemoryReport
from llamabind.model import Model
from llamabind.runner import ModelRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from llamabind.model_params import ModelParams

_WARM_UP_PROMPT = 64
_CALIBRATION_SECONDS = 0.5


class Engine(EngineCore):
    """An EngineCore over a model and a context of its own; close() frees all of it.

    `tokenizer` and `chat_template` may be used on any thread while the engine is open;
    `chat_template` is None for a model without a template that can be used. `memory` is what it
    takes, by device.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        threads: ComputeThreads,
        template: ChatTemplate | None,
        shape: EngineShape,
    ) -> None:
        self.model = model
        self.context = context
        self.tokenizer = model.tokenizer
        self.chat_template = template
        self.memory = MemoryReport.of(context)
        runner = ModelRunner(model, context, threads)
        self._resources = ExitStack()
        self._resources.callback(model.close)
        self._resources.callback(threads.close)
        self._resources.callback(context.close)
        self._resources.callback(runner.close)
        if template is not None:
            self._resources.callback(template.close)
        super().__init__(runner, model.tokenizer, shape)

    def close(self) -> None:
        """Free the samplers, the context and the model, in this order; a second call does nothing.

        The engine must not be stepping; see EngineThread.close.
        """
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def load_engine(
    path: str | Path,
    model_params: ModelParams | None = None,
    config: EngineConfig | None = None,
    progress: Callable[[float], bool] | None = None,
    chat_template: str | None = None,
) -> Engine:
    """Load a GGUF file and make an engine that is ready to step.

    `progress` gets 0.0 to 1.0 and cancels the load by returning False. `chat_template` replaces the
    file's own. Raises ModelLoadError, ContextCreateError (no memory for the context) or
    ChatTemplateError (only for a template given here: a broken one in the file leaves the engine
    without a template).
    """
    config = config or EngineConfig()
    with ExitStack() as undo:
        model = undo.enter_context(Model(path, model_params, progress))
        params = config.context_params(model.n_ctx_train, retains=_can_be_cut(model))
        context = undo.enter_context(Context(model, params))
        _check_generates(context)
        threads = ComputeThreads(
            context, config.n_threads, config.n_threads_batch, n_max=usable_cores()
        )
        undo.callback(threads.close)
        _warm_up(context, threads)
        template = _make_template(model, chat_template)
        engine = Engine(model, context, threads, template, _shape(model, context, config))
        undo.pop_all()
    return engine


def _shape(model: Model, context: Context, config: EngineConfig) -> EngineShape:
    return EngineShape(
        n_ctx=context.n_ctx_seq,
        n_cells=context.n_ctx,
        n_batch=context.n_batch,
        n_slots=context.n_seq_max,
        n_parallel=min(config.n_parallel, context.n_seq_max),
        n_vocab=model.n_vocab,
        kv_unified=config.kv_unified,
        shares_prefixes=_can_be_cut(model),
        max_waiting=config.max_waiting,
    )


def _can_be_cut(model: Model) -> bool:
    """Tell whether the memory of a sequence can be cut at any position, as prefix sharing needs.

    A recurrent state has only its newest position (llama-memory-recurrent.cpp).
    """
    return not (model.is_recurrent or model.is_hybrid)


def _check_generates(context: Context) -> None:
    model = context.model
    if not model.has_decoder or model.has_encoder or not context.has_memory:
        raise ModelLoadError(
            "unsupported_architecture",
            f"{model.architecture} models do not generate text by decoding",
        )


def _warm_up(context: Context, threads: ComputeThreads) -> None:
    """Decode, so that a device that cannot compute fails the load and not a request; and find out
    how many threads to begin with.
    """
    for n_tokens in (1, min(_WARM_UP_PROMPT, context.n_ubatch)):
        with closing(Batch(n_tokens)) as batch:
            batch.extend([0] * n_tokens, 0, 0, output_last=True)
            decode = partial(_decode_and_forget, context, batch)
            started = time.perf_counter()
            decode()
            seconds = time.perf_counter() - started
            threads.calibrate(n_tokens, decode, _CALIBRATION_SECONDS)
        if seconds * _WARM_UP_PROMPT > _CALIBRATION_SECONDS:
            # A model so slow that trying prompts would make the load much longer.
            return


def _decode_and_forget(context: Context, batch: Batch) -> None:
    context.decode(batch)
    context.synchronize()
    context.memory_clear()


def _make_template(model: Model, override: str | None) -> ChatTemplate | None:
    if override is None and model.chat_template_source is None:
        return None
    return ChatTemplate(model, override)
