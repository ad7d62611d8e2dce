"""GenerationClient: an engine on its thread, shared by many callers."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from llamabind.engine.thread import EngineThread
from llamabind.errors import EngineStoppedError, LlamaError
from llamabind.generation.output_router import OutputRouter, Sink
from llamabind.generation.prompter import Prompt, Prompter
from llamabind.system.close_guard import CloseGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llamabind.disk_cache.disk_cache import DiskCache
    from llamabind.engine.engine import Engine
    from llamabind.engine.stats import EngineStats
    from llamabind.generation.conversation import Conversation
    from llamabind.generation.prompt_requests import PromptRequests
    from llamabind.request import GenerationRequest
    from llamabind.sampling.params import SamplingParams

logger = logging.getLogger(__name__)


class GenerationClient:
    """Starts requests and routes their outputs to the callers. Owns the engine; any thread."""

    def __init__(
        self,
        engine: Engine,
        open_disk_cache: Callable[[Engine, EngineThread[Engine]], DiskCache | None],
    ) -> None:
        self.engine = engine
        self._close_guard = CloseGuard("LLM")
        self._prompter = Prompter(
            engine.tokenizer, engine.chat_template, engine.shape.n_ctx, engine.check_grammar
        )
        # Twice the slots: a free slot is refilled at once, and few samplers are held in memory.
        self.window = 2 * engine.shape.n_parallel
        self._router = OutputRouter()
        self._thread = EngineThread(engine, self._router.deliver)
        self._disk_cache = open_disk_cache(engine, self._thread)

    @property
    def stats(self) -> EngineStats:
        """The engine's figures after its latest step."""
        return self._thread.stats

    def prepare(
        self,
        prompt: Prompt | Conversation,
        params: SamplingParams | None,
        options: Mapping[str, Any],
    ) -> PromptRequests:
        """Return the requests for a prompt, and log their warnings. See Prompter.prepare."""
        with self._close_guard.entered():
            requests = self._prompter.prepare(prompt, params, options)
        for warning in requests.warnings:
            logger.warning("%s", warning)
        return requests

    def start(self, request: GenerationRequest, sink: Sink) -> None:
        """Start a request; `sink` is called on the engine's thread and must not block.

        Raises what EngineThread.submit raises, HandleClosedError, and LlamaError if called on the
        engine's thread.
        """
        self.check_thread()
        self._router.open(request.request_id, sink)
        try:
            with self._close_guard.entered():
                self._thread.submit(request)
        except BaseException:
            self._router.close(request.request_id)
            raise

    def cancel(self, request_id: str) -> None:
        """Cancel a request and drop the outputs that are still to come; unknown ids are ignored."""
        self._router.close(request_id)
        # A stopped engine has already ended all its requests.
        with contextlib.suppress(EngineStoppedError):
            self._thread.cancel(request_id)

    def check_thread(self) -> None:
        """Raise LlamaError on the engine's thread, where waiting for the engine would never end."""
        if self._thread.is_current:
            raise LlamaError(
                "a logits processor cannot wait for the engine, which waits for the processor"
            )

    def close(self) -> None:
        """Cancel all requests, deliver their last outputs, and free the engine.

        With `EngineConfig.cache_dir` the prefixes are written first, for up to 10 seconds.
        """
        self._close_guard.close()
        if self._disk_cache is not None:
            self._disk_cache.close()
        self._thread.close()
        self.engine.close()
