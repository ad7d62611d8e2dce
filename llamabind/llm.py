"""LLM: a model in a few lines of Python."""

from __future__ import annotations

import threading
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, overload

from llamabind.disk_cache.disk_cache import open_disk_cache
from llamabind.embedding.engine import EmbeddingEngine
from llamabind.engine.engine import load_engine
from llamabind.errors import GgufError, HandleClosedError, InvalidParameterError, QueueFullError
from llamabind.generation.answer_batch import AnswerBatch
from llamabind.generation.client import GenerationClient
from llamabind.generation.progress_bar import ProgressBar
from llamabind.generation.prompt_list import PromptList
from llamabind.generation.text_stream import TextStream
from llamabind.gguf.header import read_gguf_header
from llamabind.native.model import Model
from llamabind.system.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.chat.template import ChatTemplate
    from llamabind.embedding.config import EmbeddingConfig
    from llamabind.engine.config import EngineConfig
    from llamabind.engine.stats import EngineStats
    from llamabind.generation.answer import Generation
    from llamabind.generation.conversation import Conversation
    from llamabind.generation.options import ChatOptions, GenerateOptions, StreamOptions
    from llamabind.generation.prompter import Prompt
    from llamabind.native.model_params import ModelParams
    from llamabind.native.tokenizer import Tokenizer
    from llamabind.request import RequestOutput
    from llamabind.sampling.params import SamplingParams

# The architectures for which create_memory of llama-model.cpp makes no KV cache, and T5's encoder.
EMBEDDING_ARCHITECTURES: Final = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)


class LLM(Closing):
    """A loaded model that generates, chats and embeds.

    Any number of threads may call it: their requests are computed together. Close it, or use
    `with`. For a model that cannot generate text (BERT and the like) only embed() and rerank()
    work. `model` is the loaded file; its metadata and sizes may be read until close().
    """

    def __init__(  # noqa: PLR0913 - all options of a load, by keyword
        self,
        path: str | Path,
        *,
        model_params: ModelParams | None = None,
        config: EngineConfig | None = None,
        embedding: EmbeddingConfig | None = None,
        chat_template: str | None = None,
        lora: Sequence[tuple[str | Path, float]] = (),
        progress: Callable[[float], bool] | None = None,
    ) -> None:
        """Load the file; blocks until the model is ready.

        `embedding` configures the context that embed() and rerank() make at their first call.
        `chat_template` replaces the one in the file. `lora` are adapter files with their scales;
        all of them are applied to generated answers, none to embeddings. `progress` is called with
        0.0 to 1.0 and cancels the load by returning False. Raises what load_engine raises.
        """
        self._embedding = embedding
        self._embedding_engine: EmbeddingEngine | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._client: GenerationClient | None = None
        if _only_embeds(path):
            if lora:
                raise InvalidParameterError(
                    "lora",
                    "adapters are applied to generated text only, and this model only embeds",
                )
            self.model = Model(path, model_params, progress)
        else:
            engine = load_engine(path, model_params, config, progress, chat_template, lora)
            self._client = GenerationClient(engine, open_disk_cache)
            self.model = engine.model

    @property
    def client(self) -> GenerationClient:
        """The engine and its thread. InvalidParameterError if the model cannot generate text."""
        if self._client is None:
            raise InvalidParameterError(
                "model", f"{self.model.architecture} models do not generate text: use embed()"
            )
        return self._client

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; any thread."""
        return self.model.tokenizer

    @property
    def chat_template(self) -> ChatTemplate | None:
        """The chat template; ChatML if the file has none (see ChatTemplate.is_explicit)."""
        return self.client.engine.chat_template

    @property
    def stats(self) -> EngineStats:
        """The engine's figures after its latest step."""
        return self.client.stats

    @overload
    def generate(
        self,
        prompts: str | list[int],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompts: list[str] | list[list[int]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> list[Generation]: ...

    def generate(
        self,
        prompts: str | list[int] | list[str] | list[list[int]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Generation | list[Generation]:
        """Continue one prompt, or several together; results are in the order of the prompts.

        A prompt is a text or a list of token ids. `params` may be a list with one for each prompt.
        Options are those of GenerationRequest (`max_tokens`, `stop`, `logprobs`, ...), `n` for the
        number of answers to each prompt, and `progress` to show a bar (needs tqdm). Raises
        PromptTooLongError, InvalidParameterError or GrammarError; an answer that fails later has
        the finish_reason ERROR. KeyboardInterrupt cancels all of them.
        """
        return self._run(PromptList.of_texts(prompts), params, options)

    @overload
    def chat(
        self,
        messages: Conversation,
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Generation: ...

    @overload
    def chat(
        self,
        messages: Sequence[Conversation],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> list[Generation]: ...

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Generation | list[Generation]:
        """Answer one conversation, or several together, given as OpenAI messages.

        Options are those of generate() and of ChatTemplate.render, such as `tools` (as in OpenAI's
        API), `json_schema` or `enable_thinking`. The answer is split into `text`, `reasoning` and
        `tool_calls`. Raises what generate() raises, and ChatTemplateError.
        """
        return self._run(PromptList.of_conversations(messages), params, options)

    def stream(
        self,
        prompt: Prompt | Conversation,
        params: SamplingParams | None = None,
        **options: Unpack[StreamOptions],
    ) -> TextStream:
        """Continue a prompt or answer a conversation, piece by piece.

        Options and errors are those of generate() and chat(), without `n`: a stream is one answer.
        Ending the iteration early cancels the request: see TextStream.
        """
        client = self.client
        return TextStream(client, client.prepare(prompt, params, options))

    @overload
    def embed(self, texts: str, *, normalize: bool = True) -> NDArray[np.float32]: ...

    @overload
    def embed(
        self, texts: Sequence[str | Sequence[int]], *, normalize: bool = True
    ) -> NDArray[np.float32]: ...

    def embed(
        self, texts: str | Sequence[str | Sequence[int]], *, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return vectors of shape (n, n_embd), or (n_embd,) for a single text.

        The first call makes the context. Raises what EmbeddingEngine.embed raises.
        """
        if isinstance(texts, str):
            vector: NDArray[np.float32] = self.embeddings.embed([texts], normalize=normalize)[0]
            return vector
        return self.embeddings.embed(texts, normalize=normalize)

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the relevance score of each document, shape (n,). See EmbeddingEngine.rerank."""
        return self.embeddings.rerank(query, documents)

    @property
    def embeddings(self) -> EmbeddingEngine:
        """The embedding engine, made at first use. Raises ContextCreateError, HandleClosedError."""
        with self._lock:
            if self._is_closed:
                raise HandleClosedError("the LLM is closed")
            if self._embedding_engine is None:
                self._embedding_engine = EmbeddingEngine(self.model, self._embedding)
            return self._embedding_engine

    def close(self) -> None:
        """Cancel all requests and free everything; a second call does nothing.

        Answers that other threads wait for end with FinishReason.ABORT.
        """
        if self._client is not None:
            self._client.check_thread()
        # Held to the end, so that no thread frees the model while close() on another thread waits
        # for running calls, or while embed() makes its context.
        with self._lock:
            self._is_closed = True
            if self._embedding_engine is not None:
                self._embedding_engine.close()
            if self._client is not None:
                self._client.close()
            self.model.close()

    def _run(
        self,
        prompts: PromptList,
        params: SamplingParams | Sequence[SamplingParams] | None,
        options: Mapping[str, Any],
    ) -> Generation | list[Generation]:
        client = self.client
        is_shown = options.get("progress", False)
        prepared = prompts.prepare(client, params, options)
        batch = AnswerBatch(prepared, client.window)
        with closing(ProgressBar(batch.n_answers, is_shown=is_shown)) as bar:
            _run_batch(client, batch, bar)
        return prompts.in_shape(batch.results())


def _run_batch(client: GenerationClient, batch: AnswerBatch, bar: ProgressBar) -> None:
    queue: SimpleQueue[list[RequestOutput]] = SimpleQueue()
    try:
        while not batch.is_done:
            while (request := batch.next_request()) is not None:
                try:
                    client.start(request, queue.put)
                except QueueFullError:
                    if not batch.postpone(request):
                        raise
            batch.take(queue.get())
            bar.show(batch.n_finished)
    finally:
        # On any exception, KeyboardInterrupt included: the unread answers are not needed any more.
        for request_id in batch.live:
            client.cancel(request_id)


def _only_embeds(path: str | Path) -> bool:
    try:
        return read_gguf_header(path).architecture in EMBEDDING_ARCHITECTURES
    except GgufError:
        # Loading the file raises an error that describes the problem better.
        return False
