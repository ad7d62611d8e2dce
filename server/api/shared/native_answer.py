"""native_answer: an answer in llama-server's own form, also as `__verbose` of OpenAI's forms."""

from aiohttp import web
from msgspec.structs import replace

from server.api.shared.answer_documents import (
    prompt_logprobs_document,
    timings_document,
    whole_logprobs_document,
)
from server.api.shared.native_completion import NativeCompletion
from server.http.app_keys import CONFIG
from server.protocol.generation_settings import full_settings
from server.protocol.job import Job
from server.protocol.outputs import SequenceOutput
from server.streams.answer import Answer, Choice
from server.streams.token_stream import TokenUsage

VERBOSE = "__verbose"


def is_verbose(request: web.Request, requested: bool | None) -> bool:
    """Whether answers in OpenAI's forms have `__verbose`: as requested, or at log level debug."""
    return request.app[CONFIG].log_level == "debug" if requested is None else requested


def native_end(
    model: str, job: Job, choice: Choice, index: int, usage: TokenUsage, *, stream: bool
) -> NativeCompletion:
    """The document of an answer that has ended; `choice` has no text if that was streamed."""
    is_limit = choice.finish_reason == "length"
    return NativeCompletion(
        index=index,
        content=choice.text,
        tokens=choice.token_ids,
        id_slot=-1 if choice.seq_id is None else choice.seq_id,
        stop=True,
        model=model,
        tokens_predicted=usage.completion,
        tokens_evaluated=usage.prompt,
        generation_settings=full_settings(job, stream=stream),
        prompt=choice.prompt or "",
        has_new_line="\n" in choice.text,
        truncated=choice.truncated,
        stop_type="limit" if is_limit else "eos" if choice.stop_string is None else "word",
        stopping_word=choice.stop_string or "",
        tokens_cached=usage.cached,
        timings=timings_document(usage, choice.timings),
    )


def streamed_end(model: str, job: Job, output: SequenceOutput) -> NativeCompletion:
    """The document of an answer that ends with `output` and whose text was streamed."""
    choice = Choice(output.index)
    choice.add(replace(output, text="", reasoning="", token_ids=(), tool_calls=()))
    usage = TokenUsage.of(output.usage)
    return native_end(model, job, choice, output.index, usage, stream=True)


def native_answer(
    model: str, job: Job, answer: Answer, choice: Choice, index: int
) -> NativeCompletion:
    """The whole document of one choice of an answer."""
    usage = TokenUsage(answer.usage.prompt, choice.n_tokens, answer.usage.cached)
    document = native_end(model, job, choice, index, usage, stream=False)
    if choice.prompt_logprobs:
        document = replace(document, prompt_logprobs=prompt_logprobs_document(choice))
    if job.logprobs is None:
        return document
    probabilities = whole_logprobs_document(choice)["content"]
    return replace(document, completion_probabilities=probabilities)
