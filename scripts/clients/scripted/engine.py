"""ScriptedEngine: the real engine, with a grammar that allows only the script's text."""

import json
import logging
from dataclasses import replace
from typing import Any

from clients.scripted.script import Script
from llamabind import GenerationRequest
from llamabind.generation.prompt_requests import PromptRequests
from server.protocol.job import ChatPrompt, Job
from server.protocol.loading import Load
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.loading.begin import load_worker_engine

logger = logging.getLogger(__name__)


def load_scripted_engine(load: Load, events: EngineEvents) -> WorkerEngine:
    """Load the model of `load`; chats are answered by the script in the environment."""
    return ScriptedEngine(load_worker_engine(load, events), Script.from_environment())


class ScriptedEngine:
    """Renders, tokenises, checks schemas and computes as the server does; only the text is set.

    The tools' own grammar is built and then replaced, so a schema that the server refuses is still
    refused. The real parser reads the tool call from the text.
    """

    def __init__(self, engine: WorkerEngine, script: Script) -> None:
        self._engine = engine
        self._script = script

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def prepare(self, job: Job) -> PromptRequests:
        """Render and tokenise, then replace the grammar. Raises LlamaError."""
        prepared = self._engine.prepare(job)
        text = self._script.answer(job.prompt) if isinstance(job.prompt, ChatPrompt) else None
        if text is None:
            return prepared
        n_tokens = len(prepared.request.prompt_tokens)
        logger.info("script: %d prompt tokens are answered with %r", n_tokens, text)
        requests = tuple(_forced(request, text) for request in prepared.requests)
        return replace(prepared, requests=requests)


def _forced(request: GenerationRequest, text: str) -> GenerationRequest:
    sampling = replace(
        request.sampling,
        # GBNF's escapes are a superset of those that JSON needs for ASCII.
        grammar=f"root ::= {json.dumps(text)}",
        grammar_root="root",
        grammar_lazy=False,
        grammar_triggers=(),
        grammar_prefill="",
        generation_prompt="",
    )
    return replace(request, sampling=sampling)
