"""VectorTasks: tasks that an EmbeddingEngine computes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from llamabind.errors import InvalidParameterError
from server.protocol.tasks import Embed, Rank, Scores, TaskResult, Vectors

if TYPE_CHECKING:
    from llamabind import EmbeddingEngine


class VectorTasks:
    """Embeds and ranks. Any thread; inputs of concurrent tasks share batches."""

    def __init__(self, engine: "EmbeddingEngine") -> None:
        self._engine = engine

    def perform(self, task: Embed | Rank) -> Future[TaskResult]:
        """Start a task. Raises LlamaError."""
        return self._embed(task) if isinstance(task, Embed) else self._rank(task)

    def _embed(self, task: Embed) -> Future[TaskResult]:
        if self._engine.pooling == "rank":
            raise InvalidParameterError(
                "model", "it is a reranker: it computes scores, not embeddings"
            )
        are_of_tokens = task.of_tokens and self._engine.pooling == "none"
        if self._engine.pooling == "none" and not are_of_tokens:
            raise InvalidParameterError(
                "model",
                'it was loaded with pooling "none", so each token has a vector; POST /embeddings '
                "returns them, and another pooling gives one vector for each input",
            )
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
        if self._engine.pooling != "rank":
            raise cannot_rerank()
        inputs = self._engine.rerank_inputs(task.query, task.documents)

        def answer(vectors: list[Any]) -> Scores:
            scores = self._engine.stacked(vectors)[:, 0]
            return Scores(scores=tuple(map(float, scores)), n_tokens=_total(inputs))

        return _then(self._engine.submit(inputs), answer)


def cannot_rerank() -> InvalidParameterError:
    """The error for a request to rerank with another kind of model."""
    return InvalidParameterError(
        "model", "it cannot rerank; use a reranker, a model with a classifier (pooling rank)"
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
