"""Answer: all outputs of one request, joined for a reply in one piece."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from llamabind.request import Timings
from server.errors import ApiError, InvalidRequestError, UnavailableError
from server.protocol.outputs import LogprobEntry, SequenceOutput, unpack_logprobs
from server.streams.pending_output import OUTPUT_BYTES, size_of
from server.streams.token_stream import TokenStream, TokenUsage

MAX_ANSWER_BYTES = 8 << 20
MAX_TOTAL_BYTES = 32 << 20
NO_TIMINGS = Timings(0.0, 0.0, 0.0)


@dataclass(slots=True)
class CalledTool:
    """A complete tool call; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Choice:
    """One of the answers to a request."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[CalledTool] = field(default_factory=list)
    packed_logprobs: list[bytes] = field(default_factory=list)
    packed_prompt_logprobs: list[bytes] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = ""
    stop_string: str | None = None
    seq_id: int | None = None
    truncated: bool = False
    prompt: str | None = None
    n_tokens: int = 0
    timings: Timings = NO_TIMINGS

    @property
    def n_packed_bytes(self) -> int:
        """The bytes of the log-probabilities, encoded."""
        return sum(map(len, self.packed_logprobs)) + sum(map(len, self.packed_prompt_logprobs))

    @property
    def logprobs(self) -> tuple[LogprobEntry, ...]:
        """The entries of the generated tokens; each call decodes them."""
        return unpack_logprobs(self.packed_logprobs)

    @property
    def prompt_logprobs(self) -> tuple[LogprobEntry, ...]:
        """The entries of the prompt's tokens; each call decodes them."""
        return unpack_logprobs(self.packed_prompt_logprobs)

    def add(self, output: SequenceOutput) -> None:
        """Append the next output of this answer."""
        self.text += output.text
        self.reasoning += output.reasoning
        for piece in output.tool_calls:
            if piece.index == len(self.tool_calls):
                self.tool_calls.append(CalledTool(piece.id or "", piece.name or ""))
            self.tool_calls[piece.index].arguments += piece.arguments
        self.packed_logprobs.extend(output.packed_logprobs)
        self.packed_prompt_logprobs.extend(output.packed_prompt_logprobs)
        self.token_ids.extend(output.token_ids)
        if output.finish_reason is not None:
            self.finish_reason = output.finish_reason
            self.stop_string = output.stop_string
            self.seq_id = output.seq_id
            if output.details is not None:
                self.truncated, self.prompt = output.details.truncated, output.details.prompt
            self.n_tokens = output.usage.completion_tokens
            self.timings = output.timings or self.timings


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices of a request, by index."""

    choices: tuple[Choice, ...]
    usage: TokenUsage

    @property
    def n_packed_bytes(self) -> int:
        """The bytes of all log-probabilities, encoded."""
        return sum(choice.n_packed_bytes for choice in self.choices)

    @property
    def timings(self) -> Timings:
        """Those of the first choice, which computed the prompt, with the longest `decode_ms`."""
        slowest = max(choice.timings.decode_ms for choice in self.choices)
        return replace(self.choices[0].timings, decode_ms=slowest)


class KeptTotal:
    """The bytes of all answers that are kept until they are complete. Event loop only."""

    def __init__(self, limit: int = MAX_TOTAL_BYTES) -> None:
        self.n_bytes = 0
        self.limit = limit


TOTAL = KeptTotal()


class _Kept:
    """The bytes of one answer that is kept until it is complete."""

    def __init__(self, total: KeptTotal) -> None:
        self._total = total
        self._n_bytes = 0

    def add(self, output: SequenceOutput) -> None:
        """Count an output. Raises InvalidRequestError and UnavailableError beyond the limits."""
        n_bytes = size_of(output) - OUTPUT_BYTES
        self._n_bytes += n_bytes
        self._total.n_bytes += n_bytes
        if self._n_bytes > MAX_ANSWER_BYTES:
            raise InvalidRequestError(
                f"the answers and their log-probabilities have more than {MAX_ANSWER_BYTES >> 20} "
                "MB, the limit for an answer in one piece; stream it, or request fewer "
                "log-probabilities (logprobs) or answers (n)",
                param="logprobs",
                code="answer_too_large",
            )
        if self._total.n_bytes > self._total.limit:
            raise UnavailableError(
                f"all answers in progress have more than {self._total.limit >> 20} MB together; "
                "stream the answer, or retry later",
                code="answers_too_large",
                retry_after=1,
            )

    def close(self) -> None:
        """The answer is complete or has failed."""
        self._total.n_bytes -= self._n_bytes


async def collect(stream: TokenStream, total: KeptTotal = TOTAL) -> Answer:
    """Read a stream to its end. Raises the error that the stream ended with.

    InvalidRequestError and UnavailableError if the answers take too much memory, of one request and
    of all together.
    """
    choices: dict[int, Choice] = {}
    kept = _Kept(total)
    try:
        async for output in stream:
            kept.add(output)
            choices.setdefault(output.index, Choice(output.index)).add(output)
    finally:
        kept.close()
    if not choices:
        raise ApiError("the request ended without an output")
    return Answer(tuple(choices[index] for index in sorted(choices)), stream.usage)
