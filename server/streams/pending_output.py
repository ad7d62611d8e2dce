"""PendingOutput: the bytes of outputs that a reader has not taken, and when to pause their source.

A client that reads slowly must not fill the memory of the server: its request is paused in the
engine, and resumed once it has read.
"""

from collections.abc import Callable  # noqa: TC003 - beside others that are used at run time

from server.protocol.outputs import SequenceOutput

PAUSE_BYTES = 256 << 10
RESUME_BYTES = 64 << 10
TIGHT_BYTES = 8 << 10
"""The most pending bytes of one request; TIGHT_BYTES if those of all have reached the limit."""

MAX_TOTAL_BYTES = 16 << 20

OUTPUT_BYTES = 256
"""About the memory of an output beside its texts."""


class PendingTotal:
    """The pending bytes of all requests. Event loop only."""

    def __init__(self, limit: int = MAX_TOTAL_BYTES) -> None:
        self.n_bytes = 0
        self.limit = limit

    @property
    def pause_bytes(self) -> int:
        """The pending bytes of one request above which it is paused."""
        return PAUSE_BYTES if self.n_bytes < self.limit else TIGHT_BYTES


TOTAL = PendingTotal()


class PendingOutput:
    """The pending bytes of one request. Event loop only.

    `on_pause` and `on_resume` are called whenever its source must pause or continue; `on_pause`
    again if the bytes double, since a source may have started more answers meanwhile.
    """

    def __init__(self, total: PendingTotal = TOTAL) -> None:
        self._total = total
        self._n_bytes = 0
        self._pause_above = 0
        self.is_paused = False
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    @property
    def n_bytes(self) -> int:
        """The bytes of outputs that the reader has not taken."""
        return self._n_bytes

    def add(self, output: SequenceOutput) -> None:
        """Count an output that was delivered."""
        self._change(size_of(output))
        limit = self._pause_above if self.is_paused else self._total.pause_bytes
        if self._n_bytes > limit and self.on_pause is not None:
            self.is_paused = True
            self._pause_above = 2 * self._n_bytes
            self.on_pause()

    def take(self, n_bytes: int) -> None:
        """Count bytes that the reader has taken."""
        self._change(-n_bytes)
        resume_below = min(RESUME_BYTES, self._total.pause_bytes // 2)
        if self.is_paused and self._n_bytes <= resume_below:
            self.is_paused = False
            if self.on_resume is not None:
                self.on_resume()

    def close(self) -> None:
        """Count nothing more: the source has ended, or the reader has gone."""
        self.on_pause = self.on_resume = None
        self.is_paused = False

    def drop(self) -> None:
        """Forget all pending bytes, because the reader has gone."""
        self._change(-self._n_bytes)
        self.close()

    def _change(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self._total.n_bytes += n_bytes


def size_of(output: SequenceOutput) -> int:
    """About the bytes that an output takes in memory."""
    texts = len(output.text) + len(output.reasoning)
    texts += sum(len(piece.arguments) for piece in output.tool_calls)
    packed = sum(map(len, output.packed_logprobs)) + sum(map(len, output.packed_prompt_logprobs))
    return OUTPUT_BYTES + texts + packed + 8 * len(output.token_ids)
