"""The documents of OpenAI's /v1/completions."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.api.schema_sampling import LogprobCount, SamplingFields
from server.errors import InvalidRequestError
from server.job import Job, TextPrompt

ModelName = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
MixedText = str | tuple[str | TokenId, ...]


class PromptObject(msgspec.Struct, frozen=True):
    """llama-server's longest form of a prompt; media belong into chats here."""

    prompt_string: MixedText
    multimodal_data: list[Any] | None = None

    def text(self) -> str | tuple[int | str, ...]:
        """The prompt. Raises InvalidRequestError if it has media."""
        if self.multimodal_data:
            param = "prompt.multimodal_data"
            raise InvalidRequestError(
                f"field '{param}': pictures and sounds are read in chats only", param=param
            )
        return self.prompt_string


# A text, token ids, texts and ids mixed, an object; or several of them.
Prompt = str | PromptObject | tuple[str | TokenId | tuple[str | TokenId, ...] | PromptObject, ...]
Count = Annotated[int, Meta(ge=0)]

_MAX_PROMPTS = 128


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
        """A request without its dialect for each prompt. Raises InvalidRequestError."""
        self._refuse_what_cannot_be()
        prompts = prompt_list(self.prompt)
        fields = self.job_fields()
        # An echoed prompt has log-probabilities as what follows it has.
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

    def _refuse_what_cannot_be(self) -> None:
        refused = (
            ("suffix", bool(self.suffix), "models fill in text by /infill only"),
            ("best_of", (self.best_of or 1) > self.n_answers, "must not be more than n"),
        )
        for name, is_refused, reason in refused:
            if is_refused:
                raise InvalidRequestError(f"field '{name}': {reason}", param=name)


class LegacyLogprobs(msgspec.Struct, frozen=True):
    """OpenAI's older form of log-probabilities: an element for each token; null where nothing
    predicts it.
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
    """The answer of POST /v1/completions; a chunk of its stream looks the same."""

    id: str
    object: Literal["text_completion"]
    created: Count
    model: str
    choices: list[CompletionChoice]
    usage: dict[str, Any]


def prompt_list(prompt: Prompt) -> list[str | tuple[int | str, ...]]:
    """The prompts one by one: texts or lists in a list are several, ids make it one."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, PromptObject):
        return [prompt.text()]
    if not prompt:
        raise InvalidRequestError("field 'prompt' must not be empty", param="prompt")
    flat = [item for item in prompt if isinstance(item, str | int)]
    if any(isinstance(item, int) for item in flat):
        if len(flat) < len(prompt):
            raise InvalidRequestError(
                "field 'prompt': token ids and lists of them are mixed", param="prompt"
            )
        return [tuple(flat)]
    if len(prompt) > _MAX_PROMPTS:
        raise InvalidRequestError(
            f"field 'prompt': {len(prompt)} prompts, at most {_MAX_PROMPTS} in one request",
            param="prompt",
        )
    return [
        item.text() if isinstance(item, PromptObject) else item
        for item in prompt
        if not isinstance(item, int)
    ]
