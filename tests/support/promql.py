"""What a PromQL expression names: metrics, the labels of each, functions and grouping labels."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*")|(?P<range>\[[^\]]*\])|(?P<number>\d[\d.]*(?:e[+-]?\d+)?)"""
    r"""|(?P<name>[a-zA-Z_:$][\w:$]*)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(),{}])|(?P<space>\s+)"""
)
# Words in front of a list of labels.
_GROUPINGS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset"})


@dataclass
class Expression:
    """`metrics` are the names of samples with the labels by which each is selected."""

    metrics: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


def parse_promql(text: str) -> Expression:
    """Take an expression apart. Raises ValueError for what is not PromQL, as far as this knows."""
    tokens = _tokens(text)
    if tokens.count("(") != tokens.count(")") or tokens.count("{") != tokens.count("}"):
        raise ValueError(f"unbalanced brackets in {text!r}")
    found = Expression()
    index = 0
    while index < len(tokens):
        token, following = tokens[index], tokens[index + 1 : index + 2]
        index += 1
        if token in _GROUPINGS:
            labels, index = _until(tokens, index + 1, ")")
            found.grouped |= _names(labels)
        elif not _is_name(token) or token in _OPERATORS:
            continue
        elif following == ["("] or (following and following[0] in _GROUPINGS):
            found.functions.add(token)
        elif following == ["{"]:
            matchers, index = _until(tokens, index + 1, "}")
            found.metrics.append((token, _names(matchers)))
        else:
            found.metrics.append((token, set()))
    return found


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not PromQL at {text[position : position + 20]!r}")
        position = match.end()
        if match.lastgroup not in ("space", "range"):
            tokens.append(match[0])
    return tokens


def _until(tokens: list[str], begin: int, end: str) -> tuple[list[str], int]:
    """The tokens up to `end`, and the index behind it."""
    index = tokens.index(end, begin)
    return tokens[begin:index], index + 1


def _names(tokens: list[str]) -> set[str]:
    return {token for token in tokens if _is_name(token)}


def _is_name(token: str) -> bool:
    return token[0].isalpha() or token[0] in "_:"
