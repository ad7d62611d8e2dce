"""The tools of a Responses request: those of its fields and those that its items add."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from server.api.responses.schema import InputItem, ResponsesInput, ToolDefinition
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import FunctionDefinition
from server.api.schema.offered_tools import OfferedTools
from server.errors import InvalidRequestError

_IS_OFFERED = ("function", "custom", "namespace")


def offered_tools(body: ResponsesInput, left_out: LeftOut) -> OfferedTools:
    """All tools; those that cannot be offered are left out. Raises InvalidRequestError."""
    offered = OfferedTools(left_out)
    tools = _Tools(offered, left_out)
    tools.add(body.tools or (), "tools")
    items: Iterable[InputItem] = () if isinstance(body.input, str) else body.input or ()
    for index, item in enumerate(items):
        # A search finds deferred tools, and an item may bring tools that the field does not have.
        if item.type in ("tool_search_output", "additional_tools"):
            tools.load(item.tools or (), f"input[{index}].tools")
    return offered


def echoed_tools(tools: Iterable[ToolDefinition] | None) -> list[dict[str, Any]]:
    """The tools that are offered, as OpenAI's response documents repeat them."""
    return [_echo(tool) for tool in tools or () if (tool.type or "function") in _IS_OFFERED]


class _Tools:
    """Adds tool definitions, once each."""

    def __init__(self, offered: OfferedTools, left_out: LeftOut) -> None:
        self._offered = offered
        self._left_out = left_out
        self._known: set[tuple[str | None, str]] = set()

    def add(self, tools: Iterable[ToolDefinition], path: str, namespace: str | None = None) -> None:
        for index, tool in enumerate(tools):
            self._add(tool, f"{path}[{index}]", namespace)

    def load(
        self, tools: Iterable[ToolDefinition], path: str, namespace: str | None = None
    ) -> None:
        """Add tools that are not there yet, and offer those that are deferred."""
        for index, tool in enumerate(tools):
            where = f"{path}[{index}]"
            if tool.type == "namespace":
                self.load(tool.tools or (), f"{where}.tools", tool.name)
            elif tool.name is not None:
                if (namespace, tool.name) not in self._known:
                    self._add(tool, where, namespace)
                self._offered.load(tool.name)

    def _add(self, tool: ToolDefinition, path: str, namespace: str | None) -> None:
        kind = tool.type or "function"
        if kind == "function" and tool.name is None and (nested := tool.function) is not None:
            tool = replace(
                tool,
                name=nested.name,
                description=nested.description,
                parameters=nested.parameters,
                strict=nested.strict,
            )
        if kind not in _IS_OFFERED or (namespace and kind == "namespace"):
            self._left_out.add(path, kind, tool.name)
            if kind == "tool_search":
                self._offered.load_all()
            return
        if tool.name is None:
            raise InvalidRequestError(f"field '{path}.name' is required", param=f"{path}.name")
        if kind == "namespace":
            self.add(_described(tool), f"{path}.tools", tool.name)
            return
        self._known.add((namespace, tool.name))
        deferred = bool(tool.defer_loading)
        if kind == "custom":
            self._offered.add_custom(
                path,
                tool.name,
                tool.description,
                tool.format,
                namespace=namespace,
                is_deferred=deferred,
            )
        else:
            function = FunctionDefinition(tool.name, tool.description, tool.parameters, tool.strict)
            self._offered.add_function(path, function, namespace=namespace, is_deferred=deferred)


def _described(namespace: ToolDefinition) -> list[ToolDefinition]:
    """The tools of a namespace; the first also has the description of the namespace."""
    tools = list(namespace.tools or ())
    if tools and namespace.description:
        text = f"{namespace.name}: {namespace.description}"
        own = tools[0].description
        tools[0] = replace(tools[0], description=f"{text}\n\n{own}" if own else text)
    return tools


def _echo(tool: ToolDefinition) -> dict[str, Any]:
    kind = tool.type or "function"
    document = {"type": kind, "name": tool.name, "description": tool.description}
    if kind == "custom":
        return document | {"format": tool.format or {"type": "text"}}
    if kind == "namespace":
        return document | {"tools": echoed_tools(tool.tools)}
    return document | {"parameters": tool.parameters, "strict": tool.strict}
