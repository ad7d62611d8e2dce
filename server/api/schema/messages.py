"""Messages and tools of a conversation in OpenAI's form."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from server.api.schema.left_out import LeftOut
from server.errors import InvalidRequestError
from server.requests.media_parts import part_of_base64, part_of_text, part_of_url

Role = Literal["system", "developer", "user", "assistant", "tool"]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageUrl(msgspec.Struct, frozen=True):
    """The http(s) or data URL of an image; `detail` is accepted and has no effect."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image, for models with a projector."""

    image_url: ImageUrl | str


class Sound(msgspec.Struct, frozen=True):
    """An audio file in base64."""

    data: str
    format: Literal["wav", "mp3"] | None = None


class SoundPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Audio, for models whose projector supports it."""

    input_audio: Sound


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """A refusal of the assistant; treated like any other text."""

    refusal: str

    @property
    def text(self) -> str:
        """The refusal."""
        return self.refusal


ContentPart: TypeAlias = TextPart | RefusalPart | ImagePart | SoundPart


class FunctionCall(msgspec.Struct, frozen=True):
    """A called function; `arguments` is a JSON object, or a string that contains one."""

    name: FunctionName
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier in the conversation."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] | None = None


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation. `content` may be null only beside tool calls or reasoning."""

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None

    def to_wire(self, path: str, parts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The message as the chat template gets it. Raises InvalidRequestError naming `path`.

        `parts`, if given, replace the content: other dialects have their own form of images.
        """
        may_be_empty = self.role == "assistant" and (self.tool_calls or self.reasoning_content)
        if self.content is None and not may_be_empty:
            param = f"{path}.content"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        if self.tool_calls and self.role != "assistant":
            param = f"{path}.tool_calls"
            raise InvalidRequestError(
                f"field '{param}': only assistant messages may have tool calls", param=param
            )
        # content=None avoids a copy of its images.
        wire: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, content=None))
        # "developer" is OpenAI's newer name for "system"; chat templates know only the latter.
        wire["role"] = "system" if self.role == "developer" else self.role
        wire["content"] = parts or self._wire_content(f"{path}.content")
        for call in wire.get("tool_calls") or ():
            call["type"] = "function"
            if call["function"]["arguments"] is None:
                call["function"]["arguments"] = ""
        return wire

    def _wire_content(self, path: str) -> str | list[dict[str, Any]] | None:
        """The content as one text, or with media as a list of parts."""
        content = self.content
        if not isinstance(content, list):
            return content
        parts = [_wire_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
        texts = [part.text for part in content if isinstance(part, TextPart | RefusalPart)]
        if len(texts) == len(parts):
            return "\n".join(texts)
        if self.role == "assistant":
            raise InvalidRequestError(
                f"field '{path}': assistant messages may contain text only", param=path
            )
        return parts


class FunctionDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON schema.

    With `strict` a keyword of the schema that cannot be enforced is an error.
    """

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    function: FunctionDefinition


class ToolEntry(msgspec.Struct, frozen=True):
    """A tool of the request. Tools of other types than "function" are left out."""

    type: str | None = None
    function: FunctionDefinition | None = None
    name: str | None = None


def functions_of(entries: "list[ToolEntry] | None", left_out: LeftOut) -> list[Tool]:
    """The tools that are functions; others are added to `left_out`. Raises InvalidRequestError."""
    tools = []
    for index, entry in enumerate(entries or ()):
        path = f"tools[{index}]"
        if entry.type not in ("function", None):
            left_out.add(path, entry.type, entry.name)
        elif entry.function is None:
            param = f"{path}.function"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        else:
            tools.append(Tool(entry.function))
    return tools


def wire_tools(tools: list[Tool] | None) -> list[dict[str, Any]] | None:
    """The tools as the chat template gets them; None if there are none."""
    if not tools:
        return None
    return [{"type": "function", "function": msgspec.to_builtins(tool.function)} for tool in tools]


def _wire_part(part: ContentPart, path: str) -> dict[str, Any]:
    match part:
        case TextPart(text=text) | RefusalPart(refusal=text):
            return part_of_text(text)
        case ImagePart(image_url=image):
            url = image if isinstance(image, str) else image.url
            return part_of_url(url, f"{path}.image_url", "image")
        case SoundPart(input_audio=sound):
            return part_of_base64(sound.data, f"{path}.input_audio", "audio")
