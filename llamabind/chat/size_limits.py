"""Limits of what a chat template may be given, checked before time is spent on rendering.

A template's engine copies all variables for each pass of a loop and each call of a macro, so that
many variables and many messages together take time that grows with their product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llamabind.errors import InvalidParameterError, PromptTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_VARIABLES: Final = 128
MAX_VARIABLE_VALUES: Final = 10_000
MAX_VARIABLE_CHARACTERS: Final = 1 << 20
MAX_TOOLS: Final = 1024
MAX_TOOL_VALUES: Final = 100_000
MAX_TOOL_CHARACTERS: Final = 4 << 20
MAX_DEPTH: Final = 64
"""Levels of objects and arrays in a variable or a tool."""

_VALUES_PER_CALL: Final = 4
"""Members of a call of a tool, and of its function."""


def check_sizes(
    messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any], n_ctx: int
) -> None:
    """Raise for a conversation that can never fit, and for tools and variables beyond the limits.

    `options` are those of ChatTemplate.render. PromptTooLongError for more messages, parts and
    calls than the context has tokens; InvalidParameterError names the field of all others.
    """
    _check_messages(messages, n_ctx)
    tools = options.get("tools")
    if isinstance(tools, list | tuple):
        if len(tools) > MAX_TOOLS:
            raise _too_many("tools", len(tools), MAX_TOOLS, "tools")
        _check_tree("tools", tools, MAX_TOOL_VALUES, MAX_TOOL_CHARACTERS)
    variables = options.get("chat_template_kwargs")
    if isinstance(variables, dict):
        name = "chat_template_kwargs"
        if len(variables) > MAX_VARIABLES:
            raise _too_many(name, len(variables), MAX_VARIABLES, "variables")
        _check_tree(name, variables, MAX_VARIABLE_VALUES, MAX_VARIABLE_CHARACTERS)


def argument_lengths(messages: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Yield the number of characters of the arguments of each call that has them as a text."""
    for message in messages:
        for call in _calls(message):
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str):
                yield len(arguments)


def _check_messages(messages: Sequence[Mapping[str, Any]], n_ctx: int) -> None:
    """Raise for more messages, parts of contents, or calls, than the context has tokens.

    Each of them is at least one token.
    """
    if len(messages) > n_ctx:
        raise PromptTooLongError(len(messages), n_ctx, is_estimate=True)
    n_items = 0
    for message in messages:
        for name in ("content", "tool_calls"):
            items = message.get(name)
            if isinstance(items, list | tuple):
                n_items += len(items)
        if n_items > n_ctx:
            raise PromptTooLongError(n_items, n_ctx, is_estimate=True)
    calls = [call for message in messages for call in _calls(message)]
    _check_tree("messages", calls, _VALUES_PER_CALL * len(calls) + MAX_TOOL_VALUES, None)


def _calls(message: Mapping[str, Any]) -> Iterable[Any]:
    calls = message.get("tool_calls")
    return calls if isinstance(calls, list | tuple) else ()


def _check_tree(name: str, values: Any, n_most: int, n_characters: int | None) -> None:
    """Raise for too many values, levels or characters; `n_characters` None is no limit."""
    level: list[Any] = [values] if isinstance(values, dict) else list(values)
    n_values = n_read = depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidParameterError(name, f"nested deeper than {MAX_DEPTH} levels")
        inner: list[Any] = []
        for value in level:
            for child in _children(value):
                n_values += 1
                if isinstance(child, str):
                    n_read += len(child)
                elif isinstance(child, dict | list | tuple):
                    inner.append(child)
            if isinstance(value, dict):
                n_read += sum(len(key) for key in value if isinstance(key, str))
            if n_values > n_most:
                raise InvalidParameterError(name, f"more than {n_most} values")
        if n_characters is not None and n_read > n_characters:
            text = f"its texts have more than {n_characters} characters"
            raise InvalidParameterError(name, text)
        level = inner


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _too_many(name: str, n: int, limit: int, what: str) -> InvalidParameterError:
    return InvalidParameterError(name, f"{n} {what}, the limit is {limit}")
