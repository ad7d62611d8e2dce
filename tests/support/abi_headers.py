"""The names that C headers declare: functions, structs with their fields, enums, callback types.

No C parser: comments and preprocessor lines go, and what is left of these headers is regular. A
name read wrongly does no harm, since the probe (abi_probe.py) asks the compiler about each of them.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

API_MACRO = re.compile(r"\b(LLAMA_API|GGML_API|GGML_BACKEND_API|MTMD_API|LB_API)\b")
NOT_TO_BIND = re.compile(r"\b(DEPRECATED|GGML_DEPRECATED)\b")


@dataclass
class Header:
    """The names of one header; a struct maps to its field names, an enum to its constants."""

    functions: list[str] = field(default_factory=list)
    deprecated: list[str] = field(default_factory=list)
    structs: dict[str, list[str]] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    callbacks: list[str] = field(default_factory=list)
    macros: list[str] = field(default_factory=list)


def read_header(path: Path) -> Header:
    """The names that `path` declares with C linkage."""
    return parse_header(path.read_text(encoding="utf-8"))


def parse_header(source: str) -> Header:
    text = _bare(source)
    header = Header(macros=re.findall(r"^\s*#\s*define\s+(\w+)\s+\S", source, re.MULTILINE))
    for name, body in _blocks(text, "enum"):
        header.enums[name] = re.findall(r"(?:^|,)\s*(\w+)", body)
    for name, body in _blocks(text, "struct"):
        header.structs[name] = list(_field_names(body))
    statements = _without_braces(text).split(";")
    for statement in statements:
        macro = API_MACRO.search(statement)
        function = re.search(r"(\w+)\s*\(", statement[macro.end() :]) if macro else None
        if macro and function:
            deprecated = NOT_TO_BIND.search(statement)
            names = header.deprecated if deprecated else header.functions
            # LLAMA_API DEPRECATED(size_t llama_get_state_size(...), "...") has the macro first.
            if function[1] == "DEPRECATED":
                function = re.search(r"DEPRECATED\s*\([^(]*?(\w+)\s*\(", statement)
            assert function is not None, statement
            names.append(function[1])
        elif callback := re.search(r"\btypedef\b[^(]*\(\s*\*\s*(\w+)\s*\)\s*\(", statement):
            header.callbacks.append(callback[1])
    return header


def _bare(source: str) -> str:
    source = re.sub(r"/\*.*?\*/", " ", source, flags=re.DOTALL)
    source = re.sub(r"//[^\n]*", " ", source)
    source = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", " ", source, flags=re.MULTILINE)
    return source.split("namespace ")[0]  # C++ wrappers follow the C declarations


def _blocks(text: str, keyword: str) -> list[tuple[str, str]]:
    """Name and body of each `keyword name { body }` at the top level."""
    return [
        (match[1], text[match.end() : _closing_brace(text, match.end())])
        for match in re.finditer(rf"\b{keyword}\s+(\w+)\s*\{{", text)
    ]


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"no closing brace after {text[start : start + 60]!r}")


def _without_braces(text: str) -> str:
    text = re.sub(r'\bextern\s+"C"\s*\{', " ", text)
    while match := re.search(r"\{[^{}]*\}", text):
        text = text[: match.start()] + " " + text[match.end() :]
    return text


def _field_names(body: str) -> list[str]:
    names: list[str] = []
    while match := re.search(r"\b(struct|union)\s*\{", body):
        end = _closing_brace(body, match.end())
        inner, behind = body[match.end() : end], body[end + 1 :]
        if behind.lstrip().startswith(";"):  # anonymous: its fields are ours
            body = body[: match.start()] + inner + behind.lstrip()[1:]
        else:
            body = body[: match.start()] + "int " + behind
    for member in body.split(";"):
        pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", member)
        plain = re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)*$", member.strip())
        if pointer or plain:
            names.append((pointer or plain)[1])  # type: ignore[index]
    return names
