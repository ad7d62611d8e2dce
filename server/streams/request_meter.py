"""RequestMeter: what one request adds to the metrics, from its arrival to its end."""

import time
from dataclasses import dataclass

from llamabind.request import Timings
from server.errors import ApiError
from server.metrics import ModelSeries
from server.protocol.messages import SequenceOutput
from server.streams.token_stream import TokenStream

_NOTED = 32
_NOTED_SECONDS = 1.0
"""Tokens that are noted before they are counted, and for how long: a series' lock and checks cost
as much as the rest of what is done for a token.
"""


@dataclass(slots=True)
class _Answer:
    """How far one of a request's answers is."""

    n_tokens: int = 0
    last_token_at: float = 0.0


class RequestMeter:
    """Watches one request's TokenStream, with all its answers. Loop only."""

    def __init__(self, series: ModelSeries, stream: TokenStream) -> None:
        self._series = series
        self._stream = stream
        self._answers: dict[int, _Answer] = {}
        self._gaps: list[float] = []
        self._n_uncounted = 0
        self._counted_at = 0.0
        self._finish_reason = ""
        self._error: BaseException | None = None
        stream.observer = self

    def on_output(self, output: SequenceOutput) -> None:
        """Count what one step brought."""
        answer = self._answers.get(output.index)
        n_new = output.usage.completion_tokens - (answer.n_tokens if answer else 0)
        if n_new > 0:
            self._count_tokens(output, answer, n_new)
        if output.finish_reason is not None:
            self._finish_reason = output.finish_reason
        if output.timings is not None:
            self._count_times(output.timings)

    def on_failure(self, error: BaseException) -> None:
        """Note why the stream ended early."""
        self._error = error

    def end(self, error: BaseException | None) -> str:
        """The request is over, with `error` if its handler left with one; how, in one word.

        "stop", "length" and the like, "done" for what generates nothing, "invalid" for a client's
        mistake, "error" for our failure, "cancelled" where nobody waited for the end.
        """
        self._count_noted()
        if self._stream.has_result:
            # Counted only: how long vectors take says nothing of answers.
            self._series.prompt_tokens.inc(self._stream.usage.prompt)
            return "done"
        if self._stream.has_ended and not self._stream.has_failed:
            self._series.request.observe(time.monotonic() - self._stream.created_at)
            return self._finish_reason
        error = self._error or error
        if isinstance(error, ApiError):
            return "invalid" if error.status < 500 else "error"
        return "error" if isinstance(error, Exception) else "cancelled"

    def _count_tokens(self, output: SequenceOutput, answer: _Answer | None, n_new: int) -> None:
        series, now = self._series, time.monotonic()
        if not self._answers:
            series.first_token.observe(now - self._stream.created_at)
            usage = output.usage
            series.prompt_tokens.inc(usage.prompt_tokens - usage.cached_tokens)
            series.cached_tokens.inc(usage.cached_tokens)
        if answer is None:
            answer = self._answers[output.index] = _Answer()
        else:
            # A step may bring several tokens: their share of the gap, each.
            self._gaps += [(now - answer.last_token_at) / n_new] * n_new
        answer.n_tokens, answer.last_token_at = output.usage.completion_tokens, now
        self._n_uncounted += n_new
        if self._n_uncounted >= _NOTED or now - self._counted_at >= _NOTED_SECONDS:
            self._count_noted()
            self._counted_at = now

    def _count_noted(self) -> None:
        for gap in self._gaps:
            self._series.inter_token.observe(gap)
        self._series.generated_tokens.inc(self._n_uncounted)
        self._gaps.clear()
        self._n_uncounted = 0

    def _count_times(self, timings: Timings) -> None:
        series = self._series
        series.queue.observe(timings.queue_ms / 1000)
        series.prompt.observe(timings.prompt_ms / 1000)
        series.decode.observe(timings.decode_ms / 1000)
