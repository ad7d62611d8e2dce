"""Converts Ollama's requests to jobs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from msgspec.structs import replace

from server.api.ollama.options import Options
from server.api.ollama.schema import (
    AnswerRequest,
    GenerateBody,
    OllamaChatBody,
    OllamaMessage,
)
from server.api.schema.chat_tools import offered_tools
from server.api.schema.content import readable
from server.api.schema.continuation import with_continuation
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import ChatMessage, FunctionCall, ToolCall, wire_tools
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, InfillPrompt, Job, TextPrompt
from server.requests.media_parts import part_of_base64, part_of_text


def chat_job(body: OllamaChatBody, caller: str) -> Job:
    """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
    left_out = LeftOut()
    wired = [_wire(message, index, left_out) for index, message in enumerate(body.messages or ())]
    messages, continues = with_continuation(wired, body.json_schema, left_out)
    offered = offered_tools(body.tools, left_out)
    prompt = replace(
        _chat_prompt(body, messages, wire_tools(offered.tools())),
        continue_final_message=continues,
        warnings=left_out.warnings,
        tool_forms=offered.forms(),
    )
    return Job(prompt=prompt, caller=caller, **_fields(body))


def generate_job(body: GenerateBody, caller: str) -> Job:
    """The Job of /api/generate: with `raw` the prompt is continued as it is, with a `suffix` the
    gap is filled, otherwise the prompt is a user message of a chat.

    Raises InvalidRequestError, InvalidParameterError.
    """
    if body.template:
        raise InvalidRequestError(
            "field 'template' is not supported: it is a Go template, but chat templates here "
            "are Jinja; set chat_template when loading the model, or send a finished prompt with "
            "raw: true",
            param="template",
        )
    text = body.prompt or ""
    if (body.raw or body.suffix) and body.images:
        other = "raw" if body.raw else "suffix"
        why = f"field 'images' cannot be used together with {other}"
        raise InvalidRequestError(why, param="images")
    prompt: ChatPrompt | TextPrompt | InfillPrompt
    if body.suffix:
        prompt = InfillPrompt(prefix=text, suffix=body.suffix, json_schema=body.json_schema)
    elif body.raw:
        prompt = TextPrompt(content=text, json_schema=body.json_schema)
    else:
        message = ChatMessage(role="user", content=text)
        parts = _parts(text, body.images, "images")
        messages = [message.to_wire("prompt", LeftOut(), parts)]
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
        enable_thinking=body.thinks,
        reasoning_effort=body.effort,
    )


def _fields(body: AnswerRequest) -> dict[str, Any]:
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    fields = (body.options or Options()).fields() | {"logprobs": logprobs}
    fields["ignored"] += tuple(_ignored(body))
    return fields


def _ignored(body: AnswerRequest) -> Iterator[str]:
    """Warnings about fields that have no effect."""
    if isinstance(body.think, str) and body.effort is None:
        yield f"think: {body.think[:32]!r} is not a level, so the template's default is used"
    if isinstance(body, GenerateBody) and body.context:
        yield "context is ignored: nothing is stored, so send the conversation to /api/chat"


def _wire(message: OllamaMessage, index: int, left_out: LeftOut) -> dict[str, Any]:
    path = f"messages[{index}]"
    text = message.content or ""
    calls = [
        ToolCall(FunctionCall(call.function.name, call.function.arguments), call.id)
        for call in message.tool_calls or ()
    ]
    return ChatMessage(
        role=message.role,
        content=text,
        name=message.tool_name,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.thinking,
        tool_calls=calls or None,
    ).to_wire(path, left_out, _message_parts(message, f"{path}.images", left_out))


def _message_parts(
    message: OllamaMessage, param: str, left_out: LeftOut
) -> list[dict[str, Any]] | None:
    """As _parts; in results of tools and the assistant's messages a text takes the place of an
    image that cannot be read.
    """
    if not message.images or message.role not in ("tool", "assistant"):
        return _parts(message.content or "", message.images, param)
    made = []
    for index, image in enumerate(message.images):
        where = f"{param}[{index}]"
        made.append(readable(where, left_out, partial(part_of_base64, image, where, "image")))
    return [*made, part_of_text(message.content or "")]


def _parts(text: str, images: list[str] | None, param: str) -> list[dict[str, Any]] | None:
    """The images followed by the text, in Ollama's order; None without images."""
    if not images:
        return None
    image_parts = [
        part_of_base64(image, f"{param}[{index}]", "image") for index, image in enumerate(images)
    ]
    return [*image_parts, part_of_text(text)]
