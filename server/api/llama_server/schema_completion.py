"""Requests and answers of llama-server's /completion and /infill."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.schema.prompts import MixedText, ModelName, Prompt, prompt_list
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.protocol.job import InfillExtra, InfillPrompt, Job, TextPrompt

Count = Annotated[int, Meta(ge=0)]


class NativeFields(SamplingFields, frozen=True, kw_only=True):
    """Fields that both share. `response_fields` are the fields to return in the last document, as
    slash-separated paths.
    """

    model: ModelName | None = None
    stream: bool | None = None
    n_probs: LogprobCount | None = None
    logprobs: LogprobCount | None = None
    return_tokens: bool | None = None
    response_fields: tuple[str, ...] | None = None

    def to_job(self, prompt: TextPrompt | InfillPrompt, caller: str) -> Job:
        """The Job for one prompt. Raises InvalidRequestError."""
        return Job(
            prompt=prompt,
            logprobs=(self.logprobs if self.n_probs is None else self.n_probs) or None,
            end_logprob=True,
            return_tokens=bool(self.return_tokens),
            return_prompt=True,
            caller=caller,
            **self.job_fields(),
        )


class NativeCompletionBody(NativeFields, frozen=True, kw_only=True):
    """The body of POST /completion."""

    prompt: Prompt

    def to_jobs(self, caller: str) -> list[Job]:
        """A Job for each prompt. Raises InvalidRequestError."""
        prompts = prompt_list(self.prompt)
        texts = [TextPrompt(content=item, json_schema=self.json_schema) for item in prompts]
        return [self.to_job(text, caller) for text in texts]


class InfillBody(NativeFields, frozen=True, kw_only=True):
    """The body of POST /infill; `prompt` is the beginning of the text in the gap."""

    input_prefix: MixedText
    input_suffix: MixedText
    input_extra: tuple[InfillExtra, ...] | None = None
    prompt: str | None = None

    def to_jobs(self, caller: str) -> list[Job]:
        """The only Job, as a list. Raises InvalidRequestError."""
        gap = InfillPrompt(
            prefix=self.input_prefix,
            suffix=self.input_suffix,
            content=self.prompt or "",
            extra=self.input_extra or (),
            json_schema=self.json_schema,
        )
        return [self.to_job(gap, caller)]


class NativePiece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event of a stream, except the last of each answer."""

    index: Count
    content: str
    tokens: list[int]
    stop: Literal[False]
    tokens_predicted: Count
    tokens_evaluated: Count
    model: str
    timings: dict[str, Any] | UnsetType = UNSET
    prompt_progress: dict[str, Any] | UnsetType = UNSET
    completion_probabilities: list[Any] | UnsetType = UNSET
