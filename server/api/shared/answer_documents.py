"""Parts of an answer that all dialects with OpenAI's documents share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from llamabind.request import Timings
from server.api.shared.custom_input import input_of
from server.protocol.job import ToolForm
from server.protocol.outputs import LogprobEntry, PromptProgress, SequenceOutput, unpack_logprobs
from server.streams.answer import CalledTool, Choice
from server.streams.token_stream import TokenUsage


def usage_document(usage: TokenUsage) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def timings_document(
    usage: TokenUsage, timings: Timings, progress: PromptProgress | None = None
) -> dict[str, Any]:
    """llama-server's timings; the predicted rate excludes the first token. Rates are never null.

    With `progress` they are those of the part of the prompt that is computed.
    """
    n_processed = usage.prompt if progress is None else progress.processed
    prompt_n, n_steps = n_processed - usage.cached, max(usage.completion - 1, 0)
    document = {
        "cache_n": usage.cached,
        "prompt_n": prompt_n,
        "prompt_ms": timings.prompt_ms,
        "prompt_per_token_ms": timings.prompt_ms / prompt_n if prompt_n else 0.0,
        "prompt_per_second": _rate(prompt_n, timings.prompt_ms),
        "predicted_n": usage.completion,
        "predicted_ms": timings.decode_ms,
        "predicted_per_token_ms": timings.decode_ms / n_steps if n_steps else 0.0,
        "predicted_per_second": _rate(n_steps, timings.decode_ms),
    }
    if timings.draft_n:
        drafts = {"draft_n": timings.draft_n, "draft_n_accepted": timings.draft_n_accepted}
        document |= drafts
    return document


def progress_document(progress: PromptProgress) -> dict[str, Any]:
    """llama-server's progress of a prompt that is being computed."""
    return {
        "total": progress.total,
        "cache": progress.cached,
        "processed": progress.processed,
        "time_ms": progress.time_ms,
    }


def choice_document(
    choice: Choice,
    *,
    content_may_be_null: bool,
    with_logprobs: bool,
    forms: Mapping[str, ToolForm],
) -> Any:
    """One element of `choices`; OpenAI's content is null, never "", in an answer of tool calls."""
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        if content_may_be_null and not choice.text:
            message["content"] = None
        message["tool_calls"] = [call_document(call, forms) for call in choice.tool_calls]
    document = {"index": choice.index, "message": message, "finish_reason": choice.finish_reason}
    if with_logprobs:
        document["logprobs"] = whole_logprobs_document(choice)
    if choice.prompt_logprobs:
        document["prompt_logprobs"] = prompt_logprobs_document(choice)
    return document


def call_document(call: CalledTool, forms: Mapping[str, ToolForm]) -> dict[str, Any]:
    """A call of OpenAI's form: of a function with arguments, or of a custom tool with a text."""
    form = forms.get(call.name)
    if form is not None and form.kind == "custom":
        custom = {"name": form.name, "input": input_of(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def called_with(
    calls: Iterable[CalledTool], *, is_cut_off: bool
) -> list[tuple[CalledTool, dict[str, Any]]]:
    """The calls with their arguments parsed, for dialects that send arguments as objects.

    A call that the token limit cut off is left out: its incomplete JSON cannot be parsed, and with
    missing arguments it would be another call than the model's. The finish reason shows the limit.
    """
    whole = []
    for call in calls:
        text = call.arguments or ("" if is_cut_off else "{}")
        try:
            whole.append((call, msgspec.json.decode(text, type=dict[str, Any])))
        except msgspec.MsgspecError:
            continue
    return whole


def logprobs_document(entries: Sequence[LogprobEntry]) -> dict[str, Any]:
    """OpenAI's logprobs of a chat, with the token ids that llama-server adds.

    Probabilities after the samplers are numbers from 0 to 1, as in llama-server, not logarithms.
    """
    return {"content": [_entry(entry) for entry in entries]}


def whole_logprobs_document(choice: Choice) -> dict[str, Any]:
    """As logprobs_document, for all tokens of an answer. Each entry is JSON already: as objects
    they would take ten times the memory.
    """
    entries = (one for part in choice.packed_logprobs for one in unpack_logprobs((part,)))
    return {"content": [msgspec.Raw(msgspec.json.encode(_entry(entry))) for entry in entries]}


def prompt_logprobs_document(source: Choice | SequenceOutput) -> list[dict[str, Any] | None]:
    """vLLM's form: for each prompt token a map from token id to log-probability, of that token and
    of the likeliest ones; null for the first token, which nothing predicts.
    """
    return [None, *map(_candidates, source.prompt_logprobs[1:])]


def _candidates(entry: LogprobEntry) -> dict[str, Any]:
    ranks = {token: rank for rank, (token, _, _) in enumerate(entry.top, 1)}
    return {
        str(token): {
            "logprob": finite(logprob),
            "rank": ranks.get(token),
            "decoded_token": piece.decode(errors="replace"),
        }
        for token, piece, logprob in ((entry.token, entry.piece, entry.logprob), *entry.top)
    }


def finite(logprob: float) -> float:
    """The log-probability, at least -9999.0: JSON has no infinity, and OpenAI uses this value."""
    return max(logprob, -9999.0)


def _entry(entry: LogprobEntry) -> dict[str, Any]:
    make, key = (_chosen, "top_probs") if entry.is_final else (_token, "top_logprobs")
    document = make(entry.token, entry.piece, entry.logprob)
    return document | {key: [make(*top) for top in entry.top]}


def _chosen(token: int, piece: bytes, logprob: float) -> dict[str, Any]:
    document = _token(token, piece, logprob)
    del document["logprob"]
    return document | {"prob": math.exp(logprob)}


def _token(token: int, piece: bytes, logprob: float) -> dict[str, Any]:
    return {
        "id": token,
        "token": piece.decode(errors="replace"),
        "bytes": list(piece),
        "logprob": finite(logprob),
    }


def _rate(count: int, milliseconds: float) -> float:
    return count * 1000.0 / milliseconds if milliseconds > 0 else 0.0
