"""Converts engine outputs to the server's: parsed into messages, with text for tokens."""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec.structs import astuple, replace

from llamabind import FinishReason, GenerationRequest, RequestOutput
from llamabind.chat.media_markers import MEDIUM_TEXT
from llamabind.chat.output_parser import MessageDelta
from llamabind.generation.prompt_requests import PromptRequests
from llamabind.request import ErrorCode, TokenLogprob
from llamabind.request import PromptProgress as EngineProgress
from server.protocol.job import ChatPrompt, InfillPrompt, Job, TextPrompt
from server.protocol.messages import Step, Submit
from server.protocol.outputs import (
    EndDetails,
    LogprobEntry,
    PromptProgress,
    SequenceOutput,
    ToolCallPiece,
    WireTimings,
    WireUsage,
    pack_logprobs,
)
from server.worker.engines.logprob_alignment import LogprobAlignment

AnswerId: TypeAlias = tuple[str, int]
"""A request's id and the index of one of its answers."""

# Every parse reads the whole answer again. So parse only when the answer has grown by this
# fraction: then the total work grows with the answer's length, not with its square. Up to about a
# thousand characters every token is still parsed at once.
_PARSE_GROWTH = 1 / 1024


class TokenPiece(Protocol):
    """The bytes of a token (llamabind's Tokenizer.piece)."""

    def __call__(self, token: int, *, special: bool = True) -> bytes:
        """Control tokens are written out, or empty without `special`."""


class Parser(Protocol):
    """Splits an answer into content, reasoning and tool calls (llamabind's OutputParser).

    If it `is_plain`, it takes all text as content.
    """

    is_plain: bool

    def feed(self, text: str, *, final: bool = False) -> tuple[MessageDelta, ...]:
        """Add a piece of text and return the new deltas."""

    def close(self) -> None:
        """Free native memory."""


class AnswerReader:
    """Converts the outputs of one engine request to those of one answer. One thread."""

    def __init__(
        self,
        answer: AnswerId,
        job: Job,
        parser: Parser | None,
        piece: TokenPiece,
        request: GenerationRequest,
        prompt: str | None = None,
    ) -> None:
        """`request` is the engine request for this answer, one of those made from `job`; `prompt`
        is the text of its tokens, if it must be returned.
        """
        self._prompt = prompt
        self._is_final = job.post_sampling_probs
        self._with_end = job.end_logprob
        self.request_id, self.index = answer
        self._first_token = None if job.prompt_logprobs is None else request.prompt_tokens[0]
        self._parser = parser
        self._piece = piece
        self._with_tokens = job.return_tokens
        self._stop = job.stop
        self._grammar_param = job.grammar_param
        self._echo = _echo(job.prompt, piece)
        self._unparsed = ""
        self._n_parsed = 0
        self._alignment = None if job.logprobs is None else LogprobAlignment()
        self._preserved_tokens = request.preserved_tokens
        self._has_called_tools = False
        self._is_plain = (
            (parser is None or parser.is_plain)
            and self._alignment is None
            and not (self._with_tokens or self._echo or request.timings_per_token)
            and request.prompt_logprobs is None
        )

    def read(self, output: RequestOutput) -> SequenceOutput | None:
        """Return the new output; None if there is none yet."""
        if output.progress is not None:
            return self._progress(output, output.progress)
        if self._is_plain and output.finish_reason is None:
            # Nearly every token comes here. Values without names are the faster call.
            if not output.token_ids:
                return None
            usage = output.usage
            counts = WireUsage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
            return SequenceOutput(self.request_id, self.index, output.text, counts)
        deltas = self._parse(output)
        echo = self._echo
        text = echo + "".join(delta.content or "" for delta in deltas)
        self._echo = ""
        reasoning = "".join(delta.reasoning_content or "" for delta in deltas)
        calls = _tool_calls(deltas)
        self._has_called_tools |= bool(calls)
        logprobs = self._logprobs(self._alignment, output, deltas) if self._alignment else ()
        prompt_logprobs = self._of_prompt(output, echo)
        has_output = bool(text or reasoning or calls or prompt_logprobs)
        if not has_output and output.finish_reason is None and not output.token_ids:
            return None
        return SequenceOutput(
            request_id=self.request_id,
            index=self.index,
            text=text,
            usage=_usage(output),
            finish_reason=self._finish_reason(output),
            timings=WireTimings(*astuple(output.timings)) if output.timings else None,
            error=output.error,
            error_code=output.error_code,
            stop_string=output.stop_string if output.stop_string in self._stop else None,
            reasoning=reasoning,
            tool_calls=calls,
            packed_logprobs=pack_logprobs(logprobs),
            packed_prompt_logprobs=pack_logprobs(prompt_logprobs),
            token_ids=output.token_ids if self._with_tokens else (),
            seq_id=output.seq_id,
            details=self._details(output),
            error_param=self._error_param(output),
        )

    def _details(self, output: RequestOutput) -> EndDetails | None:
        if output.finish_reason is None or not (output.truncated or self._prompt):
            return None
        return EndDetails(output.truncated, self._prompt)

    def close(self) -> None:
        """Free the parser."""
        if self._parser is not None:
            self._parser.close()

    def _logprobs(
        self, alignment: LogprobAlignment, output: RequestOutput, deltas: Sequence[MessageDelta]
    ) -> tuple[LogprobEntry, ...]:
        """The entries of tokens whose text is in `deltas`; at the end also the remaining ones."""
        of_text, of_end = _split_logprobs(output)
        for logprob in of_text:
            token = logprob.token
            alignment.put(
                self._entry(logprob), self._piece(token, special=token in self._preserved_tokens)
            )
        alignment.add_text(output.text)
        taken = alignment.take(deltas)
        if output.finish_reason is not None:
            taken += alignment.take_rest(is_cut=output.stop_string is not None)
        if self._with_end:
            ends = map(self._entry, of_end)
            taken += [replace(entry, piece=b"", is_content=False) for entry in ends]
        return tuple(taken)

    def _of_prompt(self, output: RequestOutput, echo: str) -> tuple[LogprobEntry, ...]:
        """The entries of the prompt's tokens, if requested; with the first output only."""
        if self._first_token is None:
            return ()
        token, self._first_token = self._first_token, None
        piece = self._piece(token)
        # A token that was added before an echoed text, such as BOS, is not part of the text.
        is_in_text = not echo or echo.encode().startswith((piece, piece.lstrip()))
        first = LogprobEntry(token, piece if is_in_text else b"", 0.0)
        return (first, *map(self._entry, output.prompt_logprobs))

    def _progress(self, output: RequestOutput, progress: EngineProgress) -> SequenceOutput:
        usage = output.usage
        return SequenceOutput(
            request_id=self.request_id,
            index=self.index,
            text="",
            usage=_usage(output),
            progress=PromptProgress(
                usage.prompt_tokens, usage.cached_tokens, progress.n_processed, progress.time_ms
            ),
            timings=WireTimings(*astuple(output.timings)) if output.timings else None,
        )

    def _parse(self, output: RequestOutput) -> tuple[MessageDelta, ...]:
        if self._parser is None:
            return (MessageDelta(content=output.text),) if output.text else ()
        self._unparsed += output.text
        is_due = self._unparsed and len(self._unparsed) > self._n_parsed * _PARSE_GROWTH
        if output.finish_reason is None and not is_due:
            return ()
        text, self._unparsed = self._unparsed, ""
        self._n_parsed += len(text)
        # Only a complete answer is parsed as final: one that was cut off is a partial message.
        return self._parser.feed(text, final=output.finish_reason is FinishReason.STOP)

    def _finish_reason(self, output: RequestOutput) -> str | None:
        if output.finish_reason is FinishReason.STOP and self._has_called_tools:
            return "tool_calls"
        return output.finish_reason.value if output.finish_reason else None

    def _error_param(self, output: RequestOutput) -> str | None:
        is_of_grammar = output.error_code is ErrorCode.GRAMMAR_DEAD_END
        return self._grammar_param if is_of_grammar else None

    def _entry(self, logprob: TokenLogprob) -> LogprobEntry:
        top = tuple((token, self._piece(token), value) for token, value in logprob.top)
        piece = self._piece(logprob.token)
        return LogprobEntry(logprob.token, piece, logprob.logprob, top, is_final=self._is_final)


class AnswerReaders:
    """Maps engine requests to answers. Call `read` on one thread, the others on any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[str, AnswerReader] = {}
        self._engine_ids: dict[str, set[str]] = {}

    def open(self, message: Submit, prompt: PromptRequests, piece: TokenPiece) -> None:
        """Prepare for the outputs of a request, before it starts."""
        request_id, job, make = message.request_id, message.job, prompt.make_parser
        text = prompt_text(prompt.request.prompt_tokens, piece) if job.return_prompt else None
        readers = {
            request.request_id: AnswerReader(
                (request_id, index),
                job,
                make() if make else None,
                piece,
                request,
                text,
            )
            for index, request in enumerate(prompt.requests)
        }
        with self._lock:
            self._readers.update(readers)
            self._engine_ids[request_id] = set(readers)

    def engine_ids(self, request_id: str) -> Sequence[str]:
        """The ids of a request's engine requests that have not ended."""
        with self._lock:
            return tuple(self._engine_ids.get(request_id, ()))

    def drop(self, engine_ids: Iterable[str]) -> None:
        """Remove engine requests that were not started."""
        for engine_id in engine_ids:
            self._close(engine_id)

    def read(self, outputs: Sequence[RequestOutput]) -> Step | None:
        """The Step message for the outputs of an engine step; None if it would be empty."""
        converted = []
        for output in outputs:
            reader = self._readers.get(output.request_id)
            if reader is None:
                continue
            if (item := reader.read(output)) is not None:
                converted.append(item)
            if output.finish_reason is not None:
                self._close(output.request_id)
        return Step(converted) if converted else None

    def _close(self, engine_id: str) -> None:
        with self._lock:
            reader = self._readers.pop(engine_id, None)
            if reader is None:
                return
            rest = self._engine_ids[reader.request_id]
            rest.discard(engine_id)
            if not rest:
                del self._engine_ids[reader.request_id]
        reader.close()


def _echo(prompt: ChatPrompt | TextPrompt | InfillPrompt, piece: TokenPiece) -> str:
    """The text of the prompt if the answer must begin with it, else an empty string."""
    if not isinstance(prompt, TextPrompt) or not prompt.echo:
        return ""
    parts = [prompt.content] if isinstance(prompt.content, str) else prompt.content
    return b"".join(_echoed(part, piece) for part in parts).decode(errors="replace")


def _echoed(part: int | str | dict[str, Any], piece: TokenPiece) -> bytes:
    if isinstance(part, int):
        return piece(part)
    return (part if isinstance(part, str) else MEDIUM_TEXT).encode()


def prompt_text(tokens: Iterable[int], piece: TokenPiece) -> str:
    """The text of a prompt, special tokens as they are written; images and audio are left out."""
    return b"".join(piece(token) for token in tokens if token >= 0).decode(errors="replace")


def _split_logprobs(
    output: RequestOutput,
) -> tuple[Sequence[TokenLogprob], Sequence[TokenLogprob]]:
    """The entries of the text, and that of an end-of-generation token, which has no text."""
    ended_by_token = output.finish_reason is FinishReason.STOP and output.stop_string is None
    n_text = len(output.logprobs) - ended_by_token
    return output.logprobs[: max(n_text, 0)], output.logprobs[max(n_text, 0) :]


def _tool_calls(deltas: Iterable[MessageDelta]) -> tuple[ToolCallPiece, ...]:
    calls = [delta.tool_call for delta in deltas if delta.tool_call is not None]
    return tuple(ToolCallPiece(call.index, call.id, call.name, call.arguments) for call in calls)


def _usage(output: RequestOutput) -> WireUsage:
    return WireUsage(*astuple(output.usage))
