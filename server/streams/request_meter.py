"""RequestMeter: counts one request in the metrics, from its arrival to its end."""

import time
from dataclasses import dataclass

from llamabind.request import Timings
from server.errors import ApiError
from server.metrics import ModelSeries
from server.protocol.outputs import SequenceOutput
from server.streams.token_stream import TokenStream

_BATCH_TOKENS = 32
_BATCH_SECONDS = 1.0
"""Tokens are added to the metrics in batches of this size, or after this time: the lock and checks
of a series cost as much as all other work in this process for a token.
"""


@dataclass(slots=True)
class _Answer:
    """The progress of one answer of a request."""

    n_tokens: int = 0
    last_token_at: float = 0.0


class RequestMeter:
    """Observes one request's TokenStream, with all its answers. Event loop only."""

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
        """Count the output of one step."""
        answer = self._answers.get(output.index)
        n_new = output.usage.completion_tokens - (answer.n_tokens if answer else 0)
        if n_new > 0:
            self._count_tokens(output, answer, n_new)
        if output.finish_reason is not None:
            self._finish_reason = output.finish_reason
        if output.timings is not None:
            self._count_times(output.timings)

    def on_failure(self, error: BaseException) -> None:
        """Remember the error that ended the stream."""
        self._error = error

    def end(self, error: BaseException | None) -> str:
        """Count the end of the request; `error` is the handler's, if any. Returns the outcome.

        The outcome is a finish reason such as "stop" or "length"; "done" for a task, which
        generates nothing; "invalid" for an error below 500; "error" for a server failure;
        "cancelled" if the client disconnected.
        """
        self._add_batch()
        if self._stream.has_result:
            # Not in the histogram of request times: embeddings would distort those of answers.
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
            # A step may have several tokens: each gets an equal share of the gap.
            self._gaps += [(now - answer.last_token_at) / n_new] * n_new
        answer.n_tokens, answer.last_token_at = output.usage.completion_tokens, now
        self._n_uncounted += n_new
        if self._n_uncounted >= _BATCH_TOKENS or now - self._counted_at >= _BATCH_SECONDS:
            self._add_batch()
            self._counted_at = now

    def _add_batch(self) -> None:
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
