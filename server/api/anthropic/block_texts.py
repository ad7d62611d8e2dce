"""The texts and images of Anthropic's blocks: documents, search results, results of tools."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from server.api.anthropic.schema import Block, Source
from server.api.schema.content import joined, readable, text_of_data_url
from server.api.schema.left_out import LeftOut
from server.errors import InvalidRequestError
from server.requests.media_parts import part_of_base64, part_of_text, part_of_url

Part = dict[str, Any]
_SOURCE_FIELDS: Final = {"base64": "data", "url": "url"}
# Keys of results that only Anthropic's servers can read, or that say what the block's type says.
_NOT_SHOWN: Final = {
    "type",
    "encrypted_content",
    "encrypted_index",
    "encrypted_stdout",
    "signature",
}
_ONLY_TEXTS: Final = "only documents with a text are read"


def parts_of(
    blocks: Iterable[tuple[str, Block]], left_out: LeftOut, *, may_leave_out: bool = False
) -> list[Part]:
    """The texts and images of blocks, each with the name of its field.

    Blocks of other types are left out. With `may_leave_out`, for results of tools and messages of
    the assistant, an image that cannot be read is replaced by a text. Raises InvalidRequestError
    naming the field.
    """
    if not may_leave_out:
        return [part for path, block in blocks for part in _parts(path, block, left_out)]
    found = []
    for path, block in blocks:
        read = readable(path, left_out, partial(_parts, path, block, left_out))
        found += read if isinstance(read, list) else [read]
    return found


def with_paths(content: str | list[Block] | None, path: str) -> list[tuple[str, Block]]:
    """The blocks of a content, each with the name of its field; a text is one block."""
    if isinstance(content, str) or content is None:
        return [(path, Block(type="text", text=content))] if content else []
    return [(f"{path}[{index}]", block) for index, block in enumerate(content)]


def result_of(path: str, block: Block, left_out: LeftOut) -> str | list[Part]:
    """The result in a block such as tool_result or web_search_tool_result."""
    content = block.content
    if isinstance(content, dict):
        return text_of(content)
    if block.kind in ("tool_result", "mcp_tool_result"):
        blocks = with_paths(content, f"{path}.content")
        return joined(parts_of(blocks, left_out, may_leave_out=True))
    found = content if isinstance(content, list) else [Block(text=content)] if content else []
    return "\n".join(text_of(msgspec.to_builtins(one)) for one in found)


def text_of(value: Any) -> str:
    """The text in a result of Anthropic's tools: its own text, or its readable fields as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    shown = {
        key: one
        for key, one in value.items()
        if key not in _NOT_SHOWN and one not in (None, "", [], {})
    }
    if shown.keys() == {"text"}:
        return str(shown["text"])
    return msgspec.json.encode(shown).decode() if shown else ""


def _parts(path: str, block: Block, left_out: LeftOut) -> list[Part]:
    if block.kind in _SILENT:
        return []
    reader = _READERS.get(block.kind)
    if reader is None or (block.kind == "compaction" and not block.content):
        left_out.add_part(path, block.kind, "this type of block is not supported")
        return []
    return reader(path, block, left_out)


def _text(path: str, block: Block, left_out: LeftOut) -> list[Part]:
    if block.text is None:
        left_out.add_part(path, "text", "it has no text")
        return []
    return [part_of_text(block.text)]


def _search_result(path: str, block: Block, left_out: LeftOut) -> list[Part]:
    source = block.source if isinstance(block.source, str) else None
    content = block.content if isinstance(block.content, list) else None
    found = parts_of(with_paths(content, f"{path}.content"), left_out)
    return _titled(found, block.title, source)


def _reference(path: str, block: Block, left_out: LeftOut) -> list[Part]:  # noqa: ARG001 - as others
    return [part_of_text(f"The tool {block.tool_name or block.name!r} is available.")]


def _compaction(path: str, block: Block, left_out: LeftOut) -> list[Part]:  # noqa: ARG001 - as others
    return [part_of_text(text_of(msgspec.to_builtins(block.content)))]


def _image(path: str, block: Block, left_out: LeftOut) -> list[Part]:
    source = block.source
    if not isinstance(source, Source):
        raise _missing(f"{path}.source")
    kind = source.type or ("url" if source.url else "base64")
    if kind not in _SOURCE_FIELDS:
        left_out.add_part(path, "image", "this server stores no files; send base64 or a URL")
        return []
    param = f"{path}.source.{_SOURCE_FIELDS[kind]}"
    if kind == "url":
        return [part_of_url(_required(source.url, param), param, "image")]
    return [part_of_base64(_required(source.data, param), param, "image")]


def _document(path: str, block: Block, left_out: LeftOut) -> list[Part]:
    source = block.source if isinstance(block.source, Source) else Source()
    if source.type == "content":
        found = parts_of(with_paths(source.content, f"{path}.source.content"), left_out)
        return _titled(found, block.title, block.context)
    text = source.data if source.type == "text" else None
    if source.type == "base64" and source.data:
        text = text_of_data_url(f"data:{source.media_type};base64,{source.data}")
    if text is None:
        left_out.add_part(path, "document", _ONLY_TEXTS)
        return []
    return _titled([part_of_text(text)], block.title, block.context)


def _titled(parts: list[Part], *titles: str | None) -> list[Part]:
    return [*(part_of_text(title) for title in titles if title), *parts]


def _required(value: str | None, param: str) -> str:
    if value is None:
        raise _missing(param)
    return value


def _missing(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}' is required", param=param)


# Blocks without a text; those that change the tools have their effect elsewhere.
_SILENT: Final = ("tool_addition", "tool_removal", "redacted_thinking")
_READERS: Final[dict[str, Callable[[str, Block, LeftOut], list[Part]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _reference,
    "compaction": _compaction,
}
