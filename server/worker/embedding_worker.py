"""EmbeddingWorker: a model loaded for embeddings, as the worker uses it."""

from llamabind import EmbeddingEngine, GenerationRequest
from llamabind.errors import InvalidParameterError
from llamabind.prompting import PromptRequests
from server.job import Job
from server.protocol import LoadedModel, Stats
from server.tasks import Task, TaskResult


class EmbeddingWorker:
    """Holds an EmbeddingEngine. It does not chat, and says so; any thread."""

    def __init__(self, engine: EmbeddingEngine, loaded: LoadedModel) -> None:
        self._engine = engine
        self._loaded = loaded

    def describe(self) -> LoadedModel:
        """The effective settings and sizes."""
        return self._loaded

    def prepare(self, job: Job) -> PromptRequests:  # noqa: ARG002 - no job can be taken
        """Refuse: raises InvalidParameterError."""
        raise InvalidParameterError(
            "model", "it is loaded for embeddings and generates no text; load it without embedding"
        )

    def piece(self, token: int) -> bytes:
        """The bytes of a token, special ones as they are written."""
        return self._engine.model.tokenizer.piece(token, special=True)

    def submit(self, request: GenerationRequest) -> None:
        """Refuse: raises InvalidParameterError; no request was prepared."""
        raise InvalidParameterError("model", f"{request.request_id} was not prepared by this model")

    def perform(self, task: Task) -> TaskResult:  # noqa: ARG002 - no task can be done
        """Refuse: raises InvalidParameterError."""
        raise InvalidParameterError("model", "it is loaded for embeddings")

    def cancel(self, request_id: str) -> None:
        """Nothing runs."""

    def stats(self) -> Stats:
        """A snapshot: nothing is generated."""
        return Stats(
            running=0,
            waiting=0,
            kv_cells_used=0,
            n_ctx=self._loaded.n_ctx,
            prompt_tokens_total=0,
            generated_tokens_total=0,
        )

    def close(self) -> None:
        """Free the engine and its model."""
        self._engine.close()
