"""The forms of a prompt that is not a conversation."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.errors import InvalidRequestError

ModelName = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
MixedText = str | tuple[str | TokenId, ...]


class PromptObject(msgspec.Struct, frozen=True):
    """llama-server's object form of a prompt; media are supported in chats only."""

    prompt_string: MixedText
    multimodal_data: list[Any] | None = None

    def text(self) -> str | tuple[int | str, ...]:
        """The prompt's text or tokens. Raises InvalidRequestError if it has media."""
        if self.multimodal_data:
            param = "prompt.multimodal_data"
            raise InvalidRequestError(
                f"field '{param}': images and audio are supported in chats only", param=param
            )
        return self.prompt_string


# A text, a list of token ids, a list of texts and ids mixed, or an object; or a list of these.
Prompt = str | PromptObject | tuple[str | TokenId | tuple[str | TokenId, ...] | PromptObject, ...]

_MAX_PROMPTS = 128


def prompt_list(prompt: Prompt) -> list[str | tuple[int | str, ...]]:
    """The prompts as a list: a list of texts, lists or objects is several prompts, a list with
    token ids is one.
    """
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
                "field 'prompt': a list with token ids must not contain lists or objects",
                param="prompt",
            )
        return [tuple(flat)]
    if len(prompt) > _MAX_PROMPTS:
        raise InvalidRequestError(
            f"field 'prompt': {len(prompt)} prompts are too many, at most {_MAX_PROMPTS} are "
            "allowed in one request",
            param="prompt",
        )
    return [
        item.text() if isinstance(item, PromptObject) else item
        for item in prompt
        if not isinstance(item, int)
    ]
