"""RequestMaker: converts jobs to engine requests with llamabind's Prompter."""

from dataclasses import replace
from typing import Any

from llamabind.errors import InvalidParameterError
from llamabind.generation.infill import Gap, Infiller
from llamabind.generation.prompt_requests import PromptRequests, RenderedText
from llamabind.generation.prompter import Prompter
from llamabind.native.tokenizer import Tokenizer
from llamabind.sampling.params import SamplingParams
from server.protocol.job import ChatPrompt, InfillExtra, InfillPrompt, Job, TextPrompt
from server.worker.engines.adapter_scales import adapter_scales
from server.worker.engines.media_encoder import MediaEncoder

_REQUEST_FIELDS = (
    "n",
    "max_tokens",
    "min_tokens",
    "stop",
    "logprobs",
    "prompt_logprobs",
    "post_sampling_probs",
    "caller",
    "priority",
    "max_queue_seconds",
    "return_progress",
    "cache_prompt",
    "id_slot",
    "n_discard",
    "timings_per_token",
    "t_max_predict_ms",
)

_MAX_PROMPT_LOGPROBS = 300_000
"""They come in one output, of about 20 bytes each: about 6 MB."""

_NOT_RENDERED = ("messages", "warnings", "tool_forms")


class RequestMaker:
    """Renders and tokenises jobs. Any thread."""

    def __init__(
        self,
        prompter: Prompter,
        tokenizer: Tokenizer,
        media: MediaEncoder,
        n_adapters: int = 0,
    ) -> None:
        self._n_adapters = n_adapters
        self._prompter = prompter
        self._media = media
        self._tokenizer = tokenizer
        self._infiller = Infiller(tokenizer, prompter.n_ctx)

    def make(self, job: Job) -> PromptRequests:
        """The engine requests of a job. Raises the errors of Prompter.prepare."""
        biases, warnings = self._logit_bias(job)
        requests = self._make(job, replace(job.sampling, logit_bias=biases))
        _check_prompt_logprobs(job, len(requests.request.prompt_tokens))
        return replace(requests, warnings=(*requests.warnings, *warnings))

    def _make(self, job: Job, sampling: SamplingParams) -> PromptRequests:
        options = {name: getattr(job, name) for name in _REQUEST_FIELDS}
        options["n_keep"] = self._n_keep(job)
        if job.lora is not None:
            options["lora"] = adapter_scales(job.lora, self._n_adapters, "lora")
        match job.prompt:
            case ChatPrompt(messages=messages):
                options |= _render_options(job.prompt)
                encoded = self._media.encode(messages)
                requests = self._prompter.prepare(encoded.messages, sampling, options)
                return replace(requests, warnings=(*requests.warnings, *encoded.warnings))
            case TextPrompt(content=content, json_schema=schema):
                options |= {"json_schema": schema, "lenient_schema": True}
                parts = content if isinstance(content, str) else self._media.encode_parts(content)
                return self._prompter.prepare(parts, sampling, options)
            case InfillPrompt(json_schema=schema):
                options |= {"json_schema": schema, "lenient_schema": True}
                tokens = self._infiller.tokens(_gap(job.prompt), job.max_tokens)
                return self._prompter.prepare(tokens, sampling, options)

    def render(self, job: Job) -> RenderedText:
        """The prompt of a job's conversation. Raises the errors of Prompter.render."""
        if not isinstance(job.prompt, ChatPrompt):
            raise InvalidParameterError("messages", "a conversation is required")
        encoded = self._media.encode(job.prompt.messages)
        rendered = self._prompter.render(encoded.messages, _render_options(job.prompt))
        return replace(rendered, warnings=(*rendered.warnings, *encoded.warnings))

    def _n_keep(self, job: Job) -> int:
        """As in llama-server, a BOS is kept beside the tokens that the request asks for."""
        return job.n_keep if job.n_keep < 0 else job.n_keep + self._tokenizer.add_bos

    def _logit_bias(self, job: Job) -> tuple[tuple[tuple[int, float], ...], tuple[str, ...]]:
        """The biases by token, and a warning for tokens that the vocabulary lacks."""
        biases = list(job.sampling.logit_bias)
        for token, bias in job.logit_bias:
            # Each token of a text gets the bias, as in llama-server.
            tokens = [token] if isinstance(token, int) else self._encode(token)
            biases.extend((one, bias) for one in tokens)
        n_vocab = self._tokenizer.n_tokens
        known = tuple((token, bias) for token, bias in biases if token < n_vocab)
        unknown = next((token for token, _ in biases if token >= n_vocab), None)
        if unknown is None:
            return known, ()
        left_out = f"{len(biases) - len(known)} in all, such as {unknown}"
        outside = f"tokens outside the vocabulary of {n_vocab} are ignored"
        return known, (f"logit_bias: {outside} ({left_out})",)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False)


def _check_prompt_logprobs(job: Job, n_prompt: int) -> None:
    """Raise InvalidParameterError if those of the whole prompt are too many: they come at once."""
    if job.prompt_logprobs is None:
        return
    n_entries = n_prompt * (job.prompt_logprobs + 1) * job.n
    if n_entries > _MAX_PROMPT_LOGPROBS:
        raise InvalidParameterError(
            "prompt_logprobs",
            f"{n_prompt} prompt tokens, each with {job.prompt_logprobs + 1} log-probabilities for "
            f"{job.n} answers, are {n_entries} in all, the limit is {_MAX_PROMPT_LOGPROBS}",
        )


def _gap(prompt: InfillPrompt) -> Gap:
    return Gap(
        prefix=_parts(prompt.prefix),
        suffix=_parts(prompt.suffix),
        begun=prompt.content,
        files=tuple((_file_name(extra), extra.text) for extra in prompt.extra),
    )


def _file_name(extra: InfillExtra) -> str:
    """The file name for the model; llama-server's default without one."""
    return "tmp" if extra.filename is None else extra.filename


def _parts(text: str | tuple[int | str, ...]) -> tuple[int | str, ...]:
    return (text,) if isinstance(text, str) else text


def _render_options(prompt: ChatPrompt) -> dict[str, Any]:
    fields = (name for name in prompt.__struct_fields__ if name not in _NOT_RENDERED)
    values = {name: getattr(prompt, name) for name in fields}
    return {name: value for name, value in values.items() if value is not None}
