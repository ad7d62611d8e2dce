"""Anthropic's requests as jobs: its blocks become OpenAI's messages."""

import msgspec
from msgspec.structs import replace

from server.api.anthropic.schema import (
    Conversation,
    Message,
    MessagesBody,
    TextBlock,
    ThinkingBlock,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from server.api.schema_messages import (
    ChatMessage,
    FunctionCall,
    FunctionDefinition,
    NamedFunction,
    NamedTool,
    Tool,
    ToolCall,
    wire_tool_choice,
    wire_tools,
)
from server.api.schema_messages import ToolChoice as OpenAIToolChoice
from server.errors import InvalidRequestError
from server.job import ChatPrompt, Job

_CHOICES: dict[str, OpenAIToolChoice] = {"auto": "auto", "any": "required", "none": "none"}


def messages_job(body: MessagesBody, caller: str) -> Job:
    """The request without its dialect. Raises InvalidRequestError, InvalidParameterError."""
    if (body.n or 1) > 1:
        raise InvalidRequestError("field 'n': a message has one answer", param="n")
    fields = body.job_fields()
    # They are the same limit here, and this one is required.
    fields["max_tokens"] = body.max_tokens
    fields["stop"] += body.stop_sequences or ()
    prompt = chat_prompt(body)
    if body.json_schema is not None:
        prompt = replace(prompt, json_schema=body.json_schema)
    return Job(prompt=prompt, caller=caller, **fields)


def chat_prompt(body: Conversation) -> ChatPrompt:
    """The conversation in OpenAI's form. Raises InvalidRequestError naming the message."""
    messages = []
    if body.system:
        system = ChatMessage(role="system", content=_joined(body.system))
        messages.append(system.to_wire("system"))
    for index, message in enumerate(body.messages):
        place = f"messages[{index}]"
        messages += [part.to_wire(place) for part in _openai_messages(message, place)]
    choice = body.tool_choice
    output = body.output_config.format if body.output_config else None
    return ChatPrompt(
        messages=messages,
        tools=wire_tools(_tools(body)),
        tool_choice=wire_tool_choice(_choice(choice)),
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        json_schema=output.schema if output else None,
        enable_thinking=None if body.thinking is None else body.thinking.type != "disabled",
    )


def _openai_messages(message: Message, place: str) -> list[ChatMessage]:
    """One message, or several: every result of a tool is one of its own."""
    if isinstance(message.content, str):
        return [ChatMessage(role=message.role, content=message.content)]
    blocks = message.content
    for index, block in enumerate(blocks):
        is_ours = isinstance(block, ToolResultBlock)
        if isinstance(block, TextBlock) or is_ours == (message.role == "user"):
            continue
        param = f"{place}.content[{index}]"
        raise InvalidRequestError(f"field '{param}': no block of a {message.role}", param=param)
    if message.role == "assistant":
        return [_assistant(message)]
    results = [
        ChatMessage(role="tool", tool_call_id=block.tool_use_id, content=_joined(block.content))
        for block in blocks
        if isinstance(block, ToolResultBlock)
    ]
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    if texts or not results:
        results.append(ChatMessage(role="user", content=_joined(texts)))
    return results


def _assistant(message: Message) -> ChatMessage:
    blocks = [block for block in message.content if not isinstance(block, str)]
    thoughts = [block.thinking for block in blocks if isinstance(block, ThinkingBlock)]
    calls = [
        ToolCall(FunctionCall(block.name, msgspec.json.encode(block.input).decode()), block.id)
        for block in blocks
        if isinstance(block, ToolUseBlock)
    ]
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    return ChatMessage(
        role="assistant",
        content=_joined(texts) if texts or not calls else None,
        reasoning_content="\n".join(thoughts) or None,
        tool_calls=calls or None,
    )


def _tools(body: Conversation) -> list[Tool]:
    return [
        Tool(FunctionDefinition(tool.name, tool.description, tool.input_schema))
        for tool in body.tools or ()
    ]


def _choice(choice: ToolChoice | None) -> OpenAIToolChoice | None:
    if choice is None:
        return None
    if choice.type != "tool":
        return _CHOICES[choice.type]
    if choice.name is None:
        raise InvalidRequestError("field 'tool_choice.name' is required", param="tool_choice.name")
    return NamedTool(NamedFunction(choice.name))


def _joined(content: "str | list[TextBlock]") -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
