"""MergedStream: the answers to several requests of one client, as if they were one request's."""

from collections.abc import Sequence

from msgspec.structs import replace

from server.protocol.messages import SequenceOutput
from server.streams.token_stream import TokenStream, TokenUsage
from server.streams.wakeup import Wakeup


class MergedStream:
    """Reads streams of `n` answers each in turn. Loop only; one reader.

    All of them ring `bell` when there is something to read. Answer `i` of stream `s` gets the index
    s * n + i. What fails one of them fails all.
    """

    def __init__(self, streams: Sequence[TokenStream], n: int, wakeup: Wakeup) -> None:
        self._streams = tuple(streams)
        self._n = n
        self._wakeup = wakeup
        self._turn = 0

    @property
    def usage(self) -> TokenUsage:
        """The counts of all together."""
        counts = [stream.usage for stream in self._streams]
        return TokenUsage(
            sum(usage.prompt for usage in counts),
            sum(usage.completion for usage in counts),
            sum(usage.cached for usage in counts),
        )

    @property
    def is_done(self) -> bool:
        """Whether the reader has got everything."""
        return all(stream.is_done for stream in self._streams)

    async def next(self, patience: float | None = None) -> SequenceOutput | None:
        """What is new of one answer; None when `patience` seconds brought nothing.

        Raises what a stream was failed with. Not to be called when `is_done`.
        """
        while (output := self._take()) is None:
            if not await self._wakeup.wait(patience):
                return None
        return output

    def _take(self) -> SequenceOutput | None:
        for _ in self._streams:
            place = self._turn
            self._turn = (place + 1) % len(self._streams)
            output = self._streams[place].take()
            if output is not None:
                return replace(output, index=place * self._n + output.index)
        return None
