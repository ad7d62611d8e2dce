"""PromptList: one prompt or several, as generate() and chat() of LLM and AsyncLLM take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llamabind.errors import InvalidParameterError
from llamabind.generation.conversation import Conversation, is_conversation
from llamabind.sampling.params import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llamabind.generation.client import GenerationClient
    from llamabind.generation.prompt_requests import PromptRequests
    from llamabind.generation.prompter import Prompt

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PromptList:
    """The prompts of a call. `is_single`: the caller gave one, and gets one result, not a list."""

    prompts: Sequence[Prompt | Conversation]
    is_single: bool

    @staticmethod
    def of_texts(prompts: str | list[int] | list[str] | list[list[int]]) -> PromptList:
        """Texts or lists of token ids."""
        is_single = isinstance(prompts, str) or (bool(prompts) and isinstance(prompts[0], int))
        given = cast("Any", prompts)
        return PromptList([given] if is_single else given, is_single)

    @staticmethod
    def of_conversations(messages: Conversation | Sequence[Conversation]) -> PromptList:
        """OpenAI messages. InvalidParameterError if there are none."""
        if not messages:
            raise InvalidParameterError("messages", "must have at least one message")
        is_single = is_conversation(messages)
        given = cast("Any", messages)
        return PromptList([given] if is_single else given, is_single)

    def prepare(
        self,
        client: GenerationClient,
        params: SamplingParams | Sequence[SamplingParams] | None,
        options: Mapping[str, Any],
    ) -> list[PromptRequests]:
        """Return the requests of all prompts; `params` may be a list with one for each prompt."""
        if not isinstance(params, SamplingParams) and params is not None:
            each: Sequence[SamplingParams | None] = params
        else:
            each = [params] * len(self.prompts)
        if len(each) != len(self.prompts):
            raise InvalidParameterError(
                "params",
                f"expected one for each of {len(self.prompts)} prompts, but got {len(each)}",
            )
        kept = {key: value for key, value in options.items() if key != "progress"}
        return [
            client.prepare(prompt, its_params, kept)
            for prompt, its_params in zip(self.prompts, each, strict=True)
        ]

    def in_shape(self, results: list[_T]) -> _T | list[_T]:
        """Return the results in the shape of the prompts: a single one without its list."""
        return results[0] if self.is_single else results
