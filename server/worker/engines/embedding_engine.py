"""EmbeddingWorkerEngine: a WorkerEngine for a model loaded for embeddings."""

from concurrent.futures import Future

from llamabind import EmbeddingEngine, GenerationRequest
from llamabind.errors import InvalidParameterError
from llamabind.generation.prompt_requests import PromptRequests, RenderedText
from llamabind.gguf.purpose import is_encoder
from server.protocol.job import Job
from server.protocol.loading import LoadedModel
from server.protocol.messages import Stats
from server.protocol.tasks import (
    Detokenize,
    Embed,
    Rank,
    Render,
    Task,
    TaskResult,
    Tokenize,
)
from server.worker.engines.text_tasks import TextTasks
from server.worker.engines.vector_tasks import VectorTasks


class EmbeddingWorkerEngine:
    """Owns an EmbeddingEngine; refuses to generate text. Any thread."""

    def __init__(self, engine: EmbeddingEngine, loaded: LoadedModel) -> None:
        self._engine = engine
        self._loaded = loaded
        self._vectors = VectorTasks(engine)
        self._texts = TextTasks(engine.model.tokenizer, self._refuse)
        architecture = engine.model.metadata.get("general.architecture")
        self._is_encoder = is_encoder(architecture)

    def describe(self) -> LoadedModel:
        """The effective settings and sizes."""
        return self._loaded

    def prepare(self, job: Job) -> PromptRequests:  # noqa: ARG002 - every job is refused
        """Raises InvalidParameterError."""
        raise self._no_text()

    def piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of a token, special ones as they are written if `special` is set."""
        return self._engine.model.tokenizer.piece(token, special=special)

    def submit(self, request: GenerationRequest) -> None:
        """Raises InvalidParameterError, since no request can have been prepared."""
        raise InvalidParameterError("model", f"{request.request_id} was not prepared by this model")

    def perform(self, task: Task) -> TaskResult | Future[TaskResult]:
        """Perform a task; inputs of concurrent tasks share batches. Raises LlamaError."""
        match task:
            case Embed() | Rank():
                return self._vectors.perform(task)
            case Tokenize() | Detokenize() | Render():
                return self._texts.perform(task)
            case _:
                raise self._no_text()

    def cancel(self, request_id: str) -> None:
        """Does nothing: embeddings cannot be cancelled."""

    def pause(self, request_id: str) -> None:
        """Does nothing: embeddings have one result."""

    def resume(self, request_id: str) -> None:
        """Does nothing: embeddings are never paused."""

    def stats(self) -> Stats:
        """A snapshot; counts of generation are 0."""
        return Stats(
            running=0,
            waiting=0,
            kv_cells_used=0,
            n_ctx=self._loaded.n_ctx,
            prompt_tokens_total=0,
            generated_tokens_total=0,
        )

    def keep_prefixes(self, seconds: float) -> None:
        """Nothing: embeddings have no prefixes."""

    def close(self) -> None:
        """Free the engine and its model."""
        self._engine.close()

    def _refuse(self, job: Job) -> RenderedText:  # noqa: ARG002 - every job is refused
        raise self._no_text()

    def _no_text(self) -> InvalidParameterError:
        if self._is_encoder:
            kind = "a reranker" if self._engine.pooling == "rank" else "an embedding model"
            return InvalidParameterError("model", f"it is {kind} and cannot generate text")
        return InvalidParameterError(
            "model",
            "it is loaded for embeddings and cannot generate text; load it with embedding: false",
        )
