"""Requests and answers of OpenAI's /v1/completions."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.schema.prompts import ModelName, Prompt, PromptContent, prompt_list
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.errors import InvalidRequestError
from server.protocol.job import InfillPrompt, Job, TextPrompt

Count = Annotated[int, Meta(ge=0)]


class CompletionBody(SamplingFields, frozen=True, kw_only=True):
    """The body of POST /v1/completions. With a `suffix` the answer is the text between the prompt
    and it, for models with tokens for that.
    """

    prompt: Prompt
    model: ModelName | None = None
    stream: bool | None = None
    echo: bool | None = None
    logprobs: LogprobCount | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None

    def to_jobs(self, caller: str) -> list[Job]:
        """A Job for each prompt. Raises InvalidRequestError."""
        prompts = prompt_list(self.prompt)
        fields = self.job_fields()
        if (self.best_of or 1) > self.n_answers:
            # OpenAI computes more answers and returns the best; the first is an answer too.
            fields["ignored"] += (f"best_of: {self.best_of} is ignored; n answers are computed",)
        # With echo and logprobs the prompt's tokens have log-probabilities too.
        if self.echo and self.logprobs is not None:
            fields["prompt_logprobs"] = max(self.logprobs, self.prompt_logprobs or 0)
        return [
            Job(
                prompt=self._job_prompt(prompt),
                logprobs=self.logprobs,
                caller=caller,
                **fields,
            )
            for prompt in prompts
        ]

    def _job_prompt(self, prompt: PromptContent) -> TextPrompt | InfillPrompt:
        if self.suffix:
            prefix = prompt if isinstance(prompt, str) else _without_media(prompt)
            return InfillPrompt(prefix=prefix, suffix=self.suffix, json_schema=self.json_schema)
        return TextPrompt(content=prompt, json_schema=self.json_schema, echo=bool(self.echo))


def _without_media(prompt: tuple[int | str | dict[str, Any], ...]) -> tuple[int | str, ...]:
    pieces = tuple(piece for piece in prompt if not isinstance(piece, dict))
    if len(pieces) < len(prompt):
        raise InvalidRequestError(
            "field 'suffix': cannot be used together with images or audio", param="suffix"
        )
    return pieces


class LegacyLogprobs(msgspec.Struct, frozen=True):
    """OpenAI's older form of log-probabilities: an element for each token, null for the first token
    of an echoed prompt.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[Count]


class CompletionChoice(msgspec.Struct, frozen=True):
    """One answer; choice `i` of prompt `p` has the index p * n + i."""

    index: Count
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: LegacyLogprobs | None
    prompt_logprobs: list[dict[str, Any] | None] | UnsetType = UNSET


class CompletionDocument(msgspec.Struct):
    """The answer of POST /v1/completions; chunks of its stream have the same form."""

    id: str
    object: Literal["text_completion"]
    created: Count
    model: str
    choices: list[CompletionChoice]
    usage: dict[str, Any]
