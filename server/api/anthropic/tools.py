"""The tools of a request in Anthropic's form, and those that its messages add or remove."""

from collections.abc import Iterator

from server.api.anthropic.schema import AnthropicTool, Block, Conversation
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import FunctionDefinition
from server.api.schema.offered_tools import OfferedTools
from server.errors import InvalidRequestError

_RUN_ELSEWHERE = "Anthropic's server tools are not supported"


def offered_tools(body: Conversation, left_out: LeftOut) -> OfferedTools:
    """All tools; those that cannot be offered are left out. Raises InvalidRequestError."""
    offered = OfferedTools(left_out)
    known: set[str] = set()
    for index, tool in enumerate(body.tools or ()):
        _add(tool, f"tools[{index}]", offered, known, left_out)
    for path, block in _blocks(body):
        if block.kind == "tool_reference" and block.tool_name:
            offered.load(block.tool_name)
        elif block.kind == "tool_addition" and block.tool is not None:
            definition, name = block.tool.definition, block.tool.name
            if definition is not None and definition.name not in known:
                _add(definition, f"{path}.tool.definition", offered, known, left_out)
            if name := name or (definition.name if definition else None):
                offered.load(name)
        elif block.kind == "tool_removal" and block.tool is not None and block.tool.name:
            offered.remove(block.tool.name)
    return offered


def _add(
    tool: AnthropicTool, path: str, offered: OfferedTools, known: set[str], left_out: LeftOut
) -> None:
    if tool.type not in ("custom", None):
        left_out.add(path, tool.type, tool.name, _RUN_ELSEWHERE)
        if tool.type.startswith("tool_search"):
            offered.load_all()
    elif tool.name is None:
        raise InvalidRequestError(f"field '{path}.name' is required", param=f"{path}.name")
    elif tool.input_schema is None:
        left_out.add(path, "custom", tool.name, "it has no input_schema")
    else:
        known.add(tool.name)
        function = FunctionDefinition(tool.name, tool.description, tool.input_schema, tool.strict)
        offered.add_function(path, function, is_deferred=bool(tool.defer_loading))


def _blocks(body: Conversation) -> Iterator[tuple[str, Block]]:
    """All blocks of the conversation, also those inside results."""
    for index, message in enumerate(body.messages):
        path = f"messages[{index}].content"
        yield from _inside(message.content, path)


def _inside(content: object, path: str) -> Iterator[tuple[str, Block]]:
    for index, block in enumerate(content if isinstance(content, list) else ()):
        yield f"{path}[{index}]", block
        yield from _inside(block.content, f"{path}[{index}].content")
