"""Converts Anthropic's requests to jobs: content blocks become messages in OpenAI's form."""

import dataclasses
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from llamabind import SamplingParams
from server.api.anthropic.schema import (
    Conversation,
    HiddenThinkingBlock,
    ImageBlock,
    Message,
    MessagesBody,
    OutputConfig,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import (
    ChatMessage,
    FunctionCall,
    FunctionDefinition,
    Tool,
    ToolCall,
    wire_tools,
)
from server.api.schema.sampling_words import stops_of
from server.api.schema.tool_choice import WireChoice, must_call, names_of, with_mode
from server.api.schema.tool_history import CallHistory
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job
from server.requests.media_parts import part_of_base64, part_of_text, part_of_url

AnyBlock = TypeVar("AnyBlock")

_SOURCE_FIELDS = {"base64": "data", "url": "url"}
_BLOCKS: dict[str, tuple[type, ...]] = {
    "user": (ImageBlock, ToolResultBlock),
    "assistant": (ThinkingBlock, HiddenThinkingBlock, ToolUseBlock),
    "system": (),
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def messages_job(body: MessagesBody, caller: str) -> Job:
    """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
    body.refuse_several()
    fields = body.job_fields()
    # Anthropic's required max_tokens overrides llama-server's fields for the same limit.
    fields["max_tokens"] = body.max_tokens
    fields["sampling"] = _with_budget(fields["sampling"], body.thinking)
    ignored: list[str] = []
    fields["stop"] += stops_of(body.stop_sequences, "stop_sequences", ignored)
    fields["ignored"] += tuple(ignored)
    prompt = chat_prompt(body)
    if body.json_schema is not None:
        prompt = replace(prompt, json_schema=body.json_schema)
    return Job(prompt=prompt, caller=caller, **fields)


def _with_budget(sampling: SamplingParams, thinking: Thinking | None) -> SamplingParams:
    """The sampling with Anthropic's budget, unless llama-server's field sets one."""
    budget = thinking.budget_tokens if thinking and thinking.type == "enabled" else None
    if budget is None or sampling.reasoning_budget_tokens >= 0:
        return sampling
    return dataclasses.replace(sampling, reasoning_budget_tokens=budget)


def chat_prompt(body: Conversation) -> ChatPrompt:
    """The conversation in OpenAI's form. Raises InvalidRequestError naming the message."""
    messages = []
    if body.system:
        system = ChatMessage(role="system", content=_joined(body.system))
        messages.append(system.to_wire("system"))
    for index, message in enumerate(body.messages):
        path = f"messages[{index}]"
        messages += _openai_messages(message, path)
    _check_results(body.messages)
    choice = body.tool_choice
    left_out = LeftOut()
    tools = _tools(body, left_out)
    output = body.output_config or OutputConfig()
    return ChatPrompt(
        messages=messages,
        tools=wire_tools(tools),
        tool_choice=_choice(choice, tools, left_out),
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        json_schema=output.format.schema if output.format else None,
        lenient_schema=True,
        reasoning_effort=output.effort,
        enable_thinking=None if body.thinking is None else body.thinking.type != "disabled",
        warnings=left_out.warnings,
    )


def _openai_messages(message: Message, path: str) -> list[dict[str, Any]]:
    """The message in OpenAI's form; several if it has tool results, which are messages there."""
    if isinstance(message.content, str):
        return [ChatMessage(role=message.role, content=message.content).to_wire(path)]
    blocks = _with_paths(message.content, path)
    for param, block in blocks:
        if not isinstance(block, (TextBlock, *_BLOCKS[message.role])):
            text = f"field '{param}': {message.role} messages cannot contain this type of block"
            raise InvalidRequestError(text, param=param)
    if message.role == "assistant":
        return [_assistant(message).to_wire(path)]
    results = [
        _result(param, block) for param, block in blocks if isinstance(block, ToolResultBlock)
    ]
    others = [
        (param, block) for param, block in blocks if isinstance(block, TextBlock | ImageBlock)
    ]
    if others or not results:
        results.append(_with_content(ChatMessage(role=message.role), others, path))
    return results


def _check_results(messages: list[Message]) -> None:
    """Raise InvalidRequestError for a tool result whose call is missing."""
    history = CallHistory()
    for index, message in enumerate(messages):
        if isinstance(message.content, str):
            continue
        blocks = _with_paths(message.content, f"messages[{index}]")
        history.add_calls(
            (f"{param}.id", block.id) for param, block in blocks if isinstance(block, ToolUseBlock)
        )
        for param, block in blocks:
            if isinstance(block, ToolResultBlock):
                history.check_result(f"{param}.tool_use_id", block.tool_use_id)


def _result(path: str, block: ToolResultBlock) -> dict[str, Any]:
    message = ChatMessage(role="tool", tool_call_id=block.tool_use_id)
    content = block.content or []
    blocks: list[TextBlock | ImageBlock] = (
        [TextBlock(content)] if isinstance(content, str) else content
    )
    return _with_content(message, _with_paths(blocks, path), path)


def _with_content(
    message: ChatMessage, blocks: "list[tuple[str, TextBlock | ImageBlock]]", path: str
) -> dict[str, Any]:
    """The message with these blocks as its content: one text, or with images a list of parts."""
    texts = [block for _, block in blocks if isinstance(block, TextBlock)]
    parts = None
    if len(texts) < len(blocks):
        parts = [_part(param, block) for param, block in blocks]
    return replace(message, content=_joined(texts)).to_wire(path, parts)


def _part(path: str, block: TextBlock | ImageBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return part_of_text(block.text)
    source, param = block.source, f"{path}.source.{_SOURCE_FIELDS[block.source.type]}"
    if source.type == "base64" and source.data is not None:
        return part_of_base64(source.data, param, "image")
    if source.type == "url" and source.url is not None:
        return part_of_url(source.url, param, "image")
    raise InvalidRequestError(f"field '{param}' is required", param=param)


def _assistant(message: Message) -> ChatMessage:
    blocks = [block for block in message.content if not isinstance(block, str)]
    reasoning = [block.thinking for block in blocks if isinstance(block, ThinkingBlock)]
    calls = [
        ToolCall(FunctionCall(block.name, msgspec.json.encode(block.input).decode()), block.id)
        for block in blocks
        if isinstance(block, ToolUseBlock)
    ]
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    return ChatMessage(
        role="assistant",
        content=_joined(texts) if texts or not calls else None,
        reasoning_content="\n".join(reasoning) or None,
        tool_calls=calls or None,
    )


def _tools(body: Conversation, left_out: LeftOut) -> list[Tool]:
    tools = []
    for index, tool in enumerate(body.tools or ()):
        path = f"tools[{index}]"
        if tool.type not in ("custom", None):
            left_out.add(path, tool.type, tool.name, "Anthropic's server tools are not supported")
        elif tool.name is None:
            raise InvalidRequestError(f"field '{path}.name' is required", param=f"{path}.name")
        elif tool.input_schema is None:
            left_out.add(path, "custom", tool.name, "it has no input_schema")
        else:
            function = FunctionDefinition(
                tool.name, tool.description, tool.input_schema, tool.strict
            )
            tools.append(Tool(function))
    return tools


def _choice(choice: ToolChoice | None, tools: list[Tool], left_out: LeftOut) -> WireChoice:
    if choice is None:
        return None
    if choice.type != "tool":
        return with_mode(tools, _CHOICES[choice.type], left_out)[1]
    if choice.name is None:
        raise InvalidRequestError("field 'tool_choice.name' is required", param="tool_choice.name")
    left_out.check_choice("tool_choice.name", choice.name, names_of(tools))
    return must_call(choice.name)


def _with_paths(blocks: list[AnyBlock], path: str) -> list[tuple[str, AnyBlock]]:
    """The blocks, each with the name of its field."""
    return [(f"{path}.content[{index}]", block) for index, block in enumerate(blocks)]


def _joined(content: "str | list[TextBlock]") -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
