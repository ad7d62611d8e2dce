"""Python bindings to a self-built llama.cpp, and a batching engine on top of them.

    from llamabind import LLM

    with LLM("model.gguf") as llm:
        print(llm.generate("Once upon a time").text)

Each name is imported at its first use, so `import llamabind` is fast, and a process that must never
load native code can use the pure-Python parts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llamabind.aio import AsyncLLM
    from llamabind.chat.template import ChatTemplate, OutputParser, ParsedMessage, RenderedPrompt
    from llamabind.context.batch import Batch
    from llamabind.context.context import Context
    from llamabind.context.params import ContextParams
    from llamabind.context.rope_config import RopeConfig
    from llamabind.embedding.config import EmbeddingConfig
    from llamabind.embedding.engine import EmbeddingEngine, load_embedding_engine
    from llamabind.engine.config import EngineConfig
    from llamabind.engine.engine import Engine, load_engine
    from llamabind.engine.shape import EngineShape
    from llamabind.engine.stats import EngineStats
    from llamabind.engine.thread import EngineThread
    from llamabind.errors import GgufError, LlamaError
    from llamabind.generation.answer import Answer, Generation, StreamPiece
    from llamabind.generation.text_stream import TextStream
    from llamabind.gguf.header import read_gguf_header
    from llamabind.gguf.header_fields import GgufHeader
    from llamabind.llm import LLM
    from llamabind.media.projector import Projector
    from llamabind.memory_estimate import MemoryEstimate, estimate_memory
    from llamabind.native.lora import LoraAdapter
    from llamabind.native.model import Model
    from llamabind.native.model_params import ModelParams
    from llamabind.native.remote_devices import add_rpc_servers
    from llamabind.native.tokenizer import Tokenizer
    from llamabind.request import (
        FinishReason,
        GenerationRequest,
        RequestOutput,
        Timings,
        Usage,
    )
    from llamabind.sampling.params import SamplingParams
    from llamabind.sampling.sampler import Sampler
    from llamabind.schema.to_grammar import json_schema_to_grammar

__version__ = "0.1.0"

_MODULES = {
    "Answer": "generation.answer",
    "AsyncLLM": "aio",
    "Batch": "context.batch",
    "ChatTemplate": "chat.template",
    "Context": "context.context",
    "ContextParams": "context.params",
    "EmbeddingConfig": "embedding.config",
    "EmbeddingEngine": "embedding.engine",
    "Engine": "engine.engine",
    "EngineConfig": "engine.config",
    "EngineShape": "engine.shape",
    "EngineStats": "engine.stats",
    "EngineThread": "engine.thread",
    "FinishReason": "request",
    "Generation": "generation.answer",
    "GenerationRequest": "request",
    "GgufError": "errors",
    "GgufHeader": "gguf.header_fields",
    "LLM": "llm",
    "LlamaError": "errors",
    "LoraAdapter": "native.lora",
    "MemoryEstimate": "memory_estimate",
    "Model": "native.model",
    "ModelParams": "native.model_params",
    "OutputParser": "chat.template",
    "ParsedMessage": "chat.template",
    "Projector": "media.projector",
    "RenderedPrompt": "chat.template",
    "RequestOutput": "request",
    "RopeConfig": "context.rope_config",
    "Sampler": "sampling.sampler",
    "SamplingParams": "sampling.params",
    "StreamPiece": "generation.answer",
    "TextStream": "generation.text_stream",
    "Timings": "request",
    "Tokenizer": "native.tokenizer",
    "Usage": "request",
    "add_rpc_servers": "native.remote_devices",
    "estimate_memory": "memory_estimate",
    "json_schema_to_grammar": "schema.to_grammar",
    "load_embedding_engine": "embedding.engine",
    "load_engine": "engine.engine",
    "read_gguf_header": "gguf.header",
}

__all__ = [  # noqa: RUF022 - grouped by purpose
    "__version__",
    # a model in a few lines
    "LLM",
    "AsyncLLM",
    "Generation",
    "Answer",
    "TextStream",
    "StreamPiece",
    # the engine
    "load_engine",
    "Engine",
    "EngineConfig",
    "RopeConfig",
    "EngineThread",
    "EngineShape",
    "EngineStats",
    "estimate_memory",
    "MemoryEstimate",
    "GenerationRequest",
    "SamplingParams",
    "RequestOutput",
    "FinishReason",
    "Usage",
    "Timings",
    # embeddings
    "load_embedding_engine",
    "EmbeddingEngine",
    "EmbeddingConfig",
    # owners of native objects
    "Model",
    "ModelParams",
    "Tokenizer",
    "Context",
    "ContextParams",
    "Batch",
    "Sampler",
    "LoraAdapter",
    "Projector",
    # devices of other machines
    "add_rpc_servers",
    # chat
    "ChatTemplate",
    "RenderedPrompt",
    "OutputParser",
    "ParsedMessage",
    "json_schema_to_grammar",
    # files
    "read_gguf_header",
    "GgufHeader",
    "GgufError",
    # errors: the whole tree is in llamabind.errors
    "LlamaError",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'llamabind' has no attribute {name!r}")
    return getattr(import_module(f"llamabind.{module}"), name)
