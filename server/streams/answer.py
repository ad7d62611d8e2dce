"""Answer: all outputs of one request, joined for a reply in one piece."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from llamabind.request import Timings
from server.errors import ApiError
from server.protocol.outputs import LogprobEntry, SequenceOutput
from server.streams.token_stream import TokenStream, TokenUsage

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
    logprobs: list[LogprobEntry] = field(default_factory=list)
    prompt_logprobs: list[LogprobEntry] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = ""
    stop_string: str | None = None
    seq_id: int | None = None
    truncated: bool = False
    prompt: str | None = None
    n_tokens: int = 0
    timings: Timings = NO_TIMINGS

    def add(self, output: SequenceOutput) -> None:
        """Append the next output of this answer."""
        self.text += output.text
        self.reasoning += output.reasoning
        for piece in output.tool_calls:
            if piece.index == len(self.tool_calls):
                self.tool_calls.append(CalledTool(piece.id or "", piece.name or ""))
            self.tool_calls[piece.index].arguments += piece.arguments
        self.logprobs.extend(output.logprobs)
        self.prompt_logprobs.extend(output.prompt_logprobs)
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
    def timings(self) -> Timings:
        """Those of the first choice, which computed the prompt, with the longest `decode_ms`."""
        slowest = max(choice.timings.decode_ms for choice in self.choices)
        return replace(self.choices[0].timings, decode_ms=slowest)


async def collect(stream: TokenStream) -> Answer:
    """Read a stream to its end. Raises the error that the stream ended with."""
    choices: dict[int, Choice] = {}
    async for output in stream:
        choices.setdefault(output.index, Choice(output.index)).add(output)
    if not choices:
        raise ApiError("the request ended without an output")
    return Answer(tuple(choices[index] for index in sorted(choices)), stream.usage)
