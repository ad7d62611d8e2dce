"""Converts Ollama's requests to jobs."""

from typing import Any

import msgspec
from msgspec.structs import replace

from server.api.ollama.schema import (
    AnswerRequest,
    GenerateBody,
    OllamaChatBody,
    OllamaMessage,
    Options,
)
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import (
    ChatMessage,
    FunctionCall,
    ToolCall,
    functions_of,
    wire_tools,
)
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job, TextPrompt
from server.requests.media_parts import part_of_base64, part_of_text


def chat_job(body: OllamaChatBody, caller: str) -> Job:
    """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
    messages = [_wire(message, index) for index, message in enumerate(body.messages or ())]
    left_out = LeftOut()
    tools = wire_tools(functions_of(body.tools, left_out))
    prompt = replace(_chat_prompt(body, messages, tools), warnings=left_out.warnings)
    return Job(prompt=prompt, caller=caller, **_fields(body))


def generate_job(body: GenerateBody, caller: str) -> Job:
    """The Job of /api/generate: with `raw` the prompt is continued as it is, otherwise it is a
    user message of a chat. Raises InvalidRequestError, InvalidParameterError.
    """
    for name in ("suffix", "template"):
        if getattr(body, name):
            raise InvalidRequestError(f"field '{name}' is not supported", param=name)
    text = body.prompt or ""
    if body.raw and body.images:
        raise InvalidRequestError("field 'images' cannot be used together with raw", param="images")
    if body.raw:
        prompt: ChatPrompt | TextPrompt = TextPrompt(content=text, json_schema=body.json_schema)
    else:
        message = ChatMessage(role="user", content=text)
        messages = [message.to_wire("prompt", _parts(text, body.images, "images"))]
        if body.system:
            messages.insert(0, {"role": "system", "content": body.system})
        prompt = _chat_prompt(body, messages, None)
    return Job(prompt=prompt, caller=caller, **_fields(body))


def _chat_prompt(
    body: AnswerRequest, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> ChatPrompt:
    return ChatPrompt(
        messages=messages,
        tools=tools,
        json_schema=body.json_schema,
        lenient_schema=True,
        enable_thinking=None if body.think is None else bool(body.think),
        reasoning_effort=body.think if isinstance(body.think, str) else None,
    )


def _fields(body: AnswerRequest) -> dict[str, Any]:
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    return (body.options or Options()).fields() | {"logprobs": logprobs}


def _wire(message: OllamaMessage, index: int) -> dict[str, Any]:
    path = f"messages[{index}]"
    if message.images and message.role == "assistant":
        param = f"{path}.images"
        raise InvalidRequestError(
            f"field '{param}': assistant messages may contain text only", param=param
        )
    text = message.content or ""
    calls = [
        ToolCall(
            FunctionCall(call.function.name, msgspec.json.encode(call.function.arguments).decode()),
            call.id,
        )
        for call in message.tool_calls or ()
    ]
    return ChatMessage(
        role=message.role,
        content=text,
        name=message.tool_name,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.thinking,
        tool_calls=calls or None,
    ).to_wire(path, _parts(text, message.images, f"{path}.images"))


def _parts(text: str, images: list[str] | None, param: str) -> list[dict[str, Any]] | None:
    """The images followed by the text, in Ollama's order; None without images."""
    if not images:
        return None
    image_parts = [
        part_of_base64(image, f"{param}[{index}]", "image") for index, image in enumerate(images)
    ]
    return [*image_parts, part_of_text(text)]
