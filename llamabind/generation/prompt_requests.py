"""PromptRequests: the result of a Prompter. Imports little, for processes without an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.chat.output_parser import OutputParser
    from llamabind.request import GenerationRequest

MAX_ANSWERS = 128


@dataclass(frozen=True, slots=True)
class PromptRequests:
    """The requests of one prompt, one for each answer, and the parser for a chat's answers.

    `warnings` name what is ignored, such as schema keywords that no grammar can express.
    """

    requests: tuple[GenerationRequest, ...]
    make_parser: Callable[[], OutputParser] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def request(self) -> GenerationRequest:
        """The request of the first answer."""
        return self.requests[0]

    @property
    def only_request(self) -> GenerationRequest:
        """The request of a prompt with one answer; InvalidParameterError if it has several."""
        if len(self.requests) > 1:
            raise InvalidParameterError(
                "n", "a stream has one answer; call stream() once for each answer"
            )
        return self.requests[0]


@dataclass(frozen=True, slots=True)
class RenderedText:
    """A conversation as the prompt that the model gets."""

    text: str
    tokens: tuple[int, ...]
    warnings: tuple[str, ...] = ()
