"""MergedStream: reads the answers to several requests of one client like those of one request."""

from collections.abc import Sequence

from msgspec.structs import replace

from server.protocol.outputs import SequenceOutput
from server.streams.token_stream import OutputSink, TokenStream, TokenUsage
from server.streams.wakeup import Wakeup


class MergedStream:
    """Reads several streams of `n` answers each, round robin. Event loop only; one reader.

    All of them notify `wakeup` when there is an output. Answer `i` of stream `s` gets the index
    s * n + i. An error of one stream is raised to the reader of all; a refusal comes before any
    output, because the first output waits until the worker has prepared all requests.
    """

    def __init__(self, streams: Sequence[TokenStream], n: int, wakeup: Wakeup) -> None:
        self._streams = tuple(streams)
        self._n = n
        self._wakeup = wakeup
        self._next_stream = 0
        self._has_begun = False

    @property
    def usage(self) -> TokenUsage:
        """The sums over all streams."""
        counts = [stream.usage for stream in self._streams]
        return TokenUsage(
            sum(usage.prompt for usage in counts),
            sum(usage.completion for usage in counts),
            sum(usage.cached for usage in counts),
        )

    @property
    def is_done(self) -> bool:
        """Whether the reader has all outputs of all streams."""
        return all(stream.is_done for stream in self._streams)

    async def next(
        self,
        timeout_seconds: float | None = None,
        sink: OutputSink | None = None,  # noqa: ARG002 - TokenStream's; the order is this class's
    ) -> SequenceOutput | None:
        """The next output of any answer; None after `timeout_seconds` without one.

        Raises the error that a stream ended with. Must not be called when `is_done`.
        """
        while (output := self._take()) is None:
            if not await self._wakeup.wait(timeout_seconds):
                return None
        return output

    def _take(self) -> SequenceOutput | None:
        if not self._has_begun:
            # Each is asked, since any of them may raise its refusal.
            accepted = [stream.is_accepted() for stream in self._streams]
            self._has_begun = all(accepted)
            if not self._has_begun:
                return None
        for _ in self._streams:
            number = self._next_stream
            self._next_stream = (number + 1) % len(self._streams)
            output = self._streams[number].take()
            if output is not None:
                return replace(output, index=number * self._n + output.index)
        return None
