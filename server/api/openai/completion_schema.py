"""Requests and answers of OpenAI's /v1/completions."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.schema.prompts import ModelName, Prompt, prompt_list
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.errors import InvalidRequestError
from server.protocol.job import Job, TextPrompt

Count = Annotated[int, Meta(ge=0)]


class CompletionBody(SamplingFields, frozen=True, kw_only=True):
    """The body of POST /v1/completions."""

    prompt: Prompt
    model: ModelName | None = None
    stream: bool | None = None
    echo: bool | None = None
    logprobs: LogprobCount | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None

    def to_jobs(self, caller: str) -> list[Job]:
        """A Job for each prompt. Raises InvalidRequestError."""
        self._refuse_unsupported()
        prompts = prompt_list(self.prompt)
        fields = self.job_fields()
        # With echo and logprobs the prompt's tokens have log-probabilities too.
        if self.echo and self.logprobs is not None:
            fields["prompt_logprobs"] = max(self.logprobs, self.prompt_logprobs or 0)
        return [
            Job(
                prompt=TextPrompt(
                    content=prompt, json_schema=self.json_schema, echo=bool(self.echo)
                ),
                logprobs=self.logprobs,
                caller=caller,
                **fields,
            )
            for prompt in prompts
        ]

    def _refuse_unsupported(self) -> None:
        refused = (
            ("suffix", bool(self.suffix), "not supported; use POST /infill to fill a gap"),
            ("best_of", (self.best_of or 1) > self.n_answers, "must not be more than n"),
        )
        for name, is_refused, reason in refused:
            if is_refused:
                raise InvalidRequestError(f"field '{name}': {reason}", param=name)


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
