"""The forms of a prompt that is not a conversation."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.errors import InvalidRequestError
from server.requests.media_parts import text_with_media

ModelName = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
MixedText = str | tuple[str | TokenId, ...]
# As in TextPrompt.
PromptContent = str | tuple[int | str | dict[str, Any], ...]


class PromptObject(msgspec.Struct, frozen=True):
    """llama-server's object form of a prompt; `multimodal_data` are images and audio in base64, one
    for each marker <__media__> in the text.
    """

    prompt_string: MixedText
    multimodal_data: list[str] | None = None

    def content(self, param: str) -> PromptContent:
        """The prompt's text or tokens, with its media. Raises InvalidRequestError."""
        if not self.multimodal_data:
            return self.prompt_string
        if not isinstance(self.prompt_string, str):
            raise InvalidRequestError(
                f"field '{param}.prompt_string': with images or audio it must be a text",
                param=f"{param}.prompt_string",
            )
        return text_with_media(self.prompt_string, self.multimodal_data, f"{param}.multimodal_data")


# A text, a list of token ids, a list of texts and ids mixed, or an object; or a list of these.
Prompt = str | PromptObject | tuple[str | TokenId | tuple[str | TokenId, ...] | PromptObject, ...]

_MAX_PROMPTS = 128


def prompt_list(prompt: Prompt) -> list[PromptContent]:
    """The prompts as a list: a list of texts, lists or objects is several prompts, a list with
    token ids is one.
    """
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, PromptObject):
        return [prompt.content("prompt")]
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
        item.content(f"prompt[{index}]") if isinstance(item, PromptObject) else item
        for index, item in enumerate(prompt)
        if not isinstance(item, int)
    ]
