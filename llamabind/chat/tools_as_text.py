"""Tools for chat templates without tool support: definitions, calls and results become text.

The definitions go into the system message, a call into the assistant's text between <tool_call>
tags, and a result into a message of the user. llama.cpp derives the grammar and the parser of the
answer from TEMPLATE, which writes calls in the same form.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

Message = Mapping[str, Any]

_GUIDE: Final = """# Tools

You may call one or more of these functions to help the user. Their definitions are within \
<tools></tools> tags:
<tools>
{tools}
</tools>

To call a function, write a JSON object with its name and arguments within <tool_call></tool_call> \
tags, and nothing after it:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""

TEMPLATE: Final = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content %}
        {{- message.content }}
    {%- endif %}
    {%- for tool_call in message.tool_calls or [] %}
        {{- '\\n<tool_call>\\n{"name": "' + tool_call.function.name + '", "arguments": ' }}
        {{- tool_call.function.arguments | tojson }}
        {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if tools %}
    {{- '<tools>' + (tools | tojson) + '</tools>' }}
{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
"""A chat template with this form of calls; only its grammar and parser are used, never its text."""

# During the conversion: marks the messages that hold results.
_IS_RESULT: Final = "is_result"


def has_tool_messages(messages: Sequence[Any]) -> bool:
    """Whether a conversation, which may be malformed, has calls or results of tools."""
    return any(
        message.get("tool_calls") or message.get("role") == "tool"
        for message in messages
        if isinstance(message, Mapping)
    )


def with_tools_as_text(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Return the conversation with `tools` in its system message and calls and results as text."""
    converted: list[dict[str, Any]] = []
    for message in messages:
        if message.get("tool_calls"):
            converted.append(_with_calls(message))
        elif message.get("role") == "tool":
            _add_result(converted, message)
        else:
            converted.append(dict(message))
    for message in converted:
        message.pop(_IS_RESULT, None)
    return _with_guide(converted, tools) if tools else converted


def _with_calls(message: Message) -> dict[str, Any]:
    texts = [_text(message.get("content"))] if message.get("content") else []
    texts += [_call(call.get("function") or {}) for call in message["tool_calls"]]
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return kept | {"content": "\n".join(texts)}


def _call(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        arguments = _json(arguments)
    name = _json(function.get("name"))
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


def _add_result(converted: list[dict[str, Any]], message: Message) -> None:
    """Add a result; consecutive results share one message of the user."""
    content = message.get("content") or ""
    if isinstance(content, str):
        result: Any = f"<tool_response>\n{content}\n</tool_response>"
    else:
        result = [_part("<tool_response>"), *content, _part("</tool_response>")]
    if not converted or not converted[-1].get(_IS_RESULT):
        converted.append({"role": "user", "content": result, _IS_RESULT: True})
        return
    first = converted[-1]["content"]
    if isinstance(first, str) and isinstance(result, str):
        converted[-1]["content"] = f"{first}\n{result}"
    else:
        converted[-1]["content"] = [*_parts(first), *_parts(result)]


def _with_guide(
    messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    guide = _GUIDE.format(tools="\n".join(map(_json, tools)))
    first = messages[0] if messages else {}
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": guide}, *messages]
    content = first.get("content") or ""
    if isinstance(content, str):
        content = f"{content}\n\n{guide}" if content else guide
    else:
        content = [*content, _part(guide)]
    return [first | {"content": content}, *messages[1:]]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _parts(content: Any) -> list[Any]:
    return [_part(content)] if isinstance(content, str) else list(content)


def _part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
