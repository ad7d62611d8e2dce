"""TextStream: the pieces of one answer as they are computed."""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from llamabind.generation.answer import PieceReader
from llamabind.system.closing import Closing

if TYPE_CHECKING:
    from llamabind.generation.answer import StreamPiece
    from llamabind.generation.client import GenerationClient
    from llamabind.generation.prompt_requests import PromptRequests
    from llamabind.request import RequestOutput


class TextStream(Closing):
    """An iterator over the pieces of an answer. Used by one thread.

    The request starts when the object is made. Ending the iteration early cancels it: by close(),
    by leaving a `with`, or by deleting the last reference, as `break` in
    `for piece in llm.stream(...)` does.
    """

    def __init__(self, client: GenerationClient, prompt: PromptRequests) -> None:
        """Start the request; raises what GenerationClient.start raises."""
        self._client = client
        self.request = prompt.only_request
        self._outputs: deque[RequestOutput] = deque()
        self._queue: SimpleQueue[list[RequestOutput]] = SimpleQueue()
        self._reader: PieceReader | None = None
        reader = PieceReader(prompt.make_parser() if prompt.make_parser else None)
        try:
            client.start(self.request, self._queue.put)
        except BaseException:
            reader.close()
            raise
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamPiece:
        if self._reader is None:
            raise StopIteration
        if not self._outputs:
            self._outputs.extend(self._wait())
        piece = self._reader.read(self._outputs.popleft())
        if piece.finish_reason is not None:
            self._reader = None
        return piece

    def close(self) -> None:
        """Cancel the request; does nothing if it has ended or was cancelled."""
        reader, self._reader = getattr(self, "_reader", None), None
        if reader is not None:
            reader.close()
            self._client.cancel(self.request.request_id)

    def _wait(self) -> list[RequestOutput]:
        try:
            return self._queue.get()
        except BaseException:
            # KeyboardInterrupt: a traceback may keep this object alive, so __del__ is too late.
            self.close()
            raise

    def __del__(self) -> None:
        self.close()
