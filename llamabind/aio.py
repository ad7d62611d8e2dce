"""AsyncLLM: LLM for asyncio; the only module of llamabind that imports asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Self, overload
from weakref import WeakKeyDictionary, ref

from llamabind.errors import QueueFullError
from llamabind.generation.answer import PieceReader
from llamabind.generation.answer_batch import AnswerBatch
from llamabind.generation.prompt_list import PromptList
from llamabind.llm import LLM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.generation.answer import Generation, StreamPiece
    from llamabind.generation.client import GenerationClient
    from llamabind.generation.conversation import Conversation
    from llamabind.generation.options import ChatOptions, GenerateOptions, StreamOptions
    from llamabind.generation.prompter import Prompt
    from llamabind.request import GenerationRequest, RequestOutput
    from llamabind.sampling.params import SamplingParams


class AsyncLLM:
    """An LLM for coroutines, in one event loop or several at once.

    It takes an LLM and closes it; `await AsyncLLM.load(...)` loads one without blocking the loop.
    Methods, options and errors are those of LLM. Cancelling a task cancels its requests.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self._inboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopInbox] = (
            WeakKeyDictionary()
        )

    @classmethod
    async def load(cls, path: str | Path, **options: Any) -> Self:
        """Load a file on another thread; `options` and errors are those of LLM()."""
        return cls(await asyncio.to_thread(LLM, path, **options))

    @overload
    async def generate(
        self,
        prompts: str | list[int],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Generation: ...

    @overload
    async def generate(
        self,
        prompts: list[str] | list[list[int]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> list[Generation]: ...

    async def generate(
        self,
        prompts: str | list[int] | list[str] | list[list[int]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Generation | list[Generation]:
        """Continue one prompt or several. See LLM.generate."""
        return await self._run(PromptList.of_texts(prompts), params, options)

    @overload
    async def chat(
        self,
        messages: Conversation,
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Generation: ...

    @overload
    async def chat(
        self,
        messages: Sequence[Conversation],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> list[Generation]: ...

    async def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Generation | list[Generation]:
        """Answer one conversation or several. See LLM.chat."""
        return await self._run(PromptList.of_conversations(messages), params, options)

    def stream(
        self,
        prompt: Prompt | Conversation,
        params: SamplingParams | None = None,
        **options: Unpack[StreamOptions],
    ) -> AsyncTextStream:
        """Continue a prompt or answer a conversation, piece by piece: `async for piece in ...`.

        The request starts when the first piece is awaited, and errors are raised there.
        """
        return AsyncTextStream(self, prompt, params, options)

    async def embed(
        self, texts: Sequence[str | Sequence[int]], *, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return vectors of shape (n, n_embd). See EmbeddingEngine.embed."""
        engine = await asyncio.to_thread(lambda: self.llm.embeddings)
        engine.check_embeds()
        inputs = await asyncio.to_thread(engine.tokenize, texts)
        vectors = await asyncio.wrap_future(engine.submit(inputs))
        return engine.stacked(vectors, normalize=normalize)

    async def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return the relevance score of each document, shape (n,). See EmbeddingEngine.rerank."""
        engine = await asyncio.to_thread(lambda: self.llm.embeddings)
        engine.check_ranks()
        inputs = await asyncio.to_thread(engine.rerank_inputs, query, documents)
        vectors = await asyncio.wrap_future(engine.submit(inputs))
        return engine.stacked(vectors, normalize=False)[:, 0]

    async def close(self) -> None:
        """Cancel all requests and free everything; a second call does nothing."""
        await asyncio.to_thread(self.llm.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def inbox(self) -> _LoopInbox:
        """Return the running loop's inbox, which gets outputs from the engine's thread."""
        loop = asyncio.get_running_loop()
        inbox = self._inboxes.get(loop)
        if inbox is None:
            inbox = self._inboxes[loop] = _LoopInbox(loop, self.llm.client)
        return inbox

    async def _run(
        self,
        prompts: PromptList,
        params: SamplingParams | Sequence[SamplingParams] | None,
        options: Mapping[str, Any],
    ) -> Generation | list[Generation]:
        client, inbox = self.llm.client, self.inbox()
        prepared = await asyncio.to_thread(prompts.prepare, client, params, options)
        batch = AnswerBatch(prepared, client.window)
        queue: asyncio.Queue[list[RequestOutput]] = asyncio.Queue()
        try:
            while not batch.is_done:
                while (request := batch.next_request()) is not None:
                    try:
                        await inbox.start(request, queue.put_nowait)
                    except QueueFullError:
                        if not batch.postpone(request):
                            raise
                batch.take(await queue.get())
        finally:
            for request_id in batch.live:
                inbox.cancel(request_id)
        return prompts.in_shape(batch.results())


class AsyncTextStream:
    """An asynchronous iterator over the pieces of an answer. Used by one task.

    Ending the iteration early cancels the request: by aclose(), by leaving an `async with`, by
    deleting the last reference (as `break` does), or by cancelling the task.
    """

    def __init__(
        self,
        llm: AsyncLLM,
        prompt: Prompt | Conversation,
        params: SamplingParams | None,
        options: StreamOptions,
    ) -> None:
        self._llm = llm
        self._arguments = (prompt, params, options)
        self._inbox: _LoopInbox | None = None
        self._reader: PieceReader | None = None
        self._request_id = ""
        self._is_over = False
        self._outputs: deque[RequestOutput] = deque()
        self._queue: asyncio.Queue[list[RequestOutput]] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamPiece:
        if self._is_over:
            raise StopAsyncIteration
        try:
            reader = self._reader or await self._start()
            while not self._outputs:
                self._outputs.extend(await self._queue.get())
        except BaseException:
            self._cancel()
            raise
        piece = reader.read(self._outputs.popleft())
        self._is_over = piece.finish_reason is not None
        return piece

    async def aclose(self) -> None:
        """Cancel the request; does nothing if it has ended or was cancelled."""
        self._cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()

    def __del__(self) -> None:
        self._cancel()

    async def _start(self) -> PieceReader:
        client, inbox = self._llm.llm.client, self._llm.inbox()
        prompt = await asyncio.to_thread(client.prepare, *self._arguments)
        request = prompt.only_request
        reader = self._reader = PieceReader(prompt.make_parser() if prompt.make_parser else None)
        self._inbox, self._request_id = inbox, request.request_id
        await inbox.start(request, self._queue.put_nowait)
        return reader

    def _cancel(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._reader is not None:
            self._reader.close()
        if self._inbox is not None:
            self._inbox.cancel(self._request_id)


class _LoopInbox:
    """Passes outputs from the engine's thread to one event loop, all outputs of a step in one call.

    `start` and `cancel` are called in that loop; the object itself is the sink of all its requests,
    so that the engine's thread calls it once a step.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: GenerationClient) -> None:
        # A weak reference, so that AsyncLLM drops this object when the loop is freed.
        self._loop = ref(loop)
        self._client = client
        self._waiters: dict[str, Callable[[list[RequestOutput]], None]] = {}

    async def start(
        self, request: GenerationRequest, deliver: Callable[[list[RequestOutput]], None]
    ) -> None:
        """Start a request on another thread: parsing a long grammar would block the loop."""
        self._waiters[request.request_id] = deliver
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._start, request)
        except BaseException:
            self._waiters.pop(request.request_id, None)
            raise

    def cancel(self, request_id: str) -> None:
        """Cancel a request and drop the outputs that are still to come."""
        self._waiters.pop(request_id, None)
        self._client.cancel(request_id)

    def __call__(self, outputs: list[RequestOutput]) -> None:
        """Pass one step's outputs to the loop. Called on the engine's thread."""
        loop = self._loop()
        with contextlib.suppress(RuntimeError):
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver, outputs)
                return
        # The loop is closed or freed, so its requests have no reader any more.
        for output in outputs:
            self._client.cancel(output.request_id)

    def _deliver(self, outputs: list[RequestOutput]) -> None:
        for_each: dict[Callable[[list[RequestOutput]], None], list[RequestOutput]] = {}
        for output in outputs:
            deliver = self._waiters.get(output.request_id)
            if deliver is not None:
                for_each.setdefault(deliver, []).append(output)
            if output.finish_reason is not None:
                self._waiters.pop(output.request_id, None)
        for deliver, its_outputs in for_each.items():
            deliver(its_outputs)

    def _start(self, request: GenerationRequest) -> None:
        """Start a request on an executor thread; cancel it if its task was cancelled meanwhile."""
        self._client.start(request, self)
        if request.request_id not in self._waiters:
            self._client.cancel(request.request_id)
