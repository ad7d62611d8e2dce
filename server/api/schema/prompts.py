"""The forms that a prompt may have where it is no conversation."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.errors import InvalidRequestError

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

_MAX_PROMPTS = 128


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
