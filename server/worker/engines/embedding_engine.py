"""EmbeddingWorkerEngine: a WorkerEngine for a model loaded for embeddings."""

from concurrent.futures import Future

from llamabind import EmbeddingEngine, GenerationRequest
from llamabind.errors import InvalidParameterError
from llamabind.generation.prompter import PromptRequests, RenderedText
from llamabind.gguf.purpose import is_encoder
from server.protocol.job import Job
from server.protocol.messages import LoadedModel, Stats
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

    def close(self) -> None:
        """Free the engine and its model."""
        self._engine.close()

    def _embed(self, task: Embed) -> Future[TaskResult]:
        are_of_tokens = task.of_tokens and self._engine.pooling == "none"
        if not are_of_tokens:
            self._engine.check_embeds()
        inputs = self._engine.tokenize(task.inputs)
        if task.truncate:
            inputs = self._engine.truncated(inputs)

        def answer(vectors: list[Any]) -> Vectors:
            rows: Any = vectors
            if not are_of_tokens:
                rows = self._engine.stacked(vectors, normalize=task.normalize)
            return Vectors(
                are_of_tokens=are_of_tokens,
                vectors=tuple(row.astype("<f4").tobytes() for row in rows),
                n_tokens=tuple(map(len, inputs)),
            )

        return _then(self._engine.submit(inputs), answer)

    def _rank(self, task: Rank) -> Future[TaskResult]:
        self._engine.check_ranks()
        inputs = self._engine.rerank_inputs(task.query, task.documents)

        def answer(vectors: list[Any]) -> Scores:
            scores = self._engine.stacked(vectors)[:, 0]
            return Scores(scores=tuple(map(float, scores)), n_tokens=_total(inputs))

        return _then(self._engine.submit(inputs), answer)

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


def _then(
    computed: Future[list[Any]], answer: Callable[[list[Any]], TaskResult]
) -> Future[TaskResult]:
    """A future with the `answer` for the result of `computed`."""
    result: Future[TaskResult] = Future()

    def pass_on(done: Future[list[Any]]) -> None:
        try:
            result.set_result(answer(done.result()))
        except Exception as error:  # noqa: BLE001 - passed on to the future
            result.set_exception(error)

    computed.add_done_callback(pass_on)
    return result


def _total(inputs: Sequence[Sequence[int]]) -> int:
    return sum(map(len, inputs))
