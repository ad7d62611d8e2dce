"""The shapes of recorded requests: keys, types, schemas and order stay, texts become filler."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("requests")
_LONGEST = 80
_FILLER = "filler text " * 7
# Strings that say what something is. Ids stay as they tie a call to its result.
_KEPT = frozenset(
    (
        *("type", "role", "name", "model", "format", "pattern", "$schema", "$ref", "const"),
        *("effort", "display", "ttl", "verbosity", "tool_choice", "syntax", "phase"),
        *("summary", "status"),
        *("id", "call_id", "tool_use_id", "tool_call_id", "finish_reason", "context", "scope"),
    )
)
_KEPT_LISTS = frozenset(("enum", "required", "include", "type", "betas"))


def write_shapes(client: str, recorded: Path) -> None:
    """Write the shape of the last request with tools, and of the last without, for each path."""
    chosen: dict[tuple[str, bool], Any] = {}
    for file in sorted(recorded.glob("*.json")):
        document = json.loads(file.read_text())
        body = document["body"]
        if document["method"] == "POST" and isinstance(body, dict):
            path = document["path"].partition("?")[0]
            chosen[path, "tools" in body] = {"path": path, "body": shape(body)}
    FOLDER.mkdir(exist_ok=True)
    for (_, has_tools), document in chosen.items():
        name = client if has_tools or len(chosen) == 1 else f"{client}-without-tools"
        text = "\n".join(_lines(document))
        (FOLDER / f"{name}.json").write_text(text + "\n")


def shape(value: Any, key: str = "") -> Any:
    """A value without the words in it; a text is cut to 80 characters of filler."""
    match value:
        case dict():
            return {name: shape(member, name) for name, member in value.items()}
        case list() if key not in _KEPT_LISTS:
            return [shape(item, key) for item in value]
        case str() if key not in _KEPT:
            # The arguments of a call are JSON, which the server parses.
            return json.dumps(shape(json.loads(value))) if key == "arguments" else _filler(value)
        case _:
            return value


def _filler(text: str) -> str:
    return _FILLER[: min(len(text), _LONGEST)]


def _lines(document: dict[str, Any]) -> Iterable[str]:
    """JSON with one line for each member of the body, and for each item of its lists."""
    yield f'{{"path": {json.dumps(document["path"])}, "body": {{'
    members = document["body"].items()
    for index, (key, value) in enumerate(members):
        end = "," if index + 1 < len(members) else ""
        if isinstance(value, list) and value:
            yield f"  {json.dumps(key)}: ["
            for number, item in enumerate(value):
                yield f"    {json.dumps(item)}{',' if number + 1 < len(value) else ''}"
            yield f"  ]{end}"
        else:
            yield f"  {json.dumps(key)}: {json.dumps(value)}{end}"
    yield "}}"
