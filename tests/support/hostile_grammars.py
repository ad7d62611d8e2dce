"""Program: throws hostile grammars, triggers and schemas at the shim; one JSON line for each.

Run by tests/native/sampling/test_hostile_grammars.py in a process of its own, so that a crash is
a failed test. It prints a case's name before the case is tried: the last line names what crashed.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from llamabind.errors import GrammarError
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.schema.to_grammar import json_schema_to_grammar
from tests.support.shim_grammar import RefusedError, ShimGrammar


def _chain(n: int, rule: str) -> str:
    rules = [f"r{i} ::= " + rule.format(next=f"r{i + 1}") for i in range(n)]
    return "\n".join(["root ::= r0", *rules, f'r{n} ::= "x"'])


def _ladder(n: int, ends: str) -> str:
    """A grammar that branches on the same text: paths multiply with each character."""
    steps = [f"s{i} ::= " + " | ".join(f'"=" s{i + 1} "{end}"' for end in ends) for i in range(n)]
    return "\n".join(["root ::= s0", *steps, f's{n} ::= "x"'])


# Must be refused, with this text in the reason.
REFUSED = {
    "left recursion": ('root ::= root "x" | "y"', "left recursive"),
    "left recursion behind a rule that may be empty": (
        'root ::= a root "x" | "y"\na ::= b\nb ::= "c" | ""',
        "left recursive",
    ),
    "left recursion in a circle": ('root ::= a "x"\na ::= b\nb ::= root | "z"', "left recursive"),
    "a rule that never ends": ('root ::= "x" root', "never end"),
    "a rule that never ends, after one that may be empty": (
        'root ::= "x" loop\nloop ::= a loop\na ::= b\nb ::= ""',
        "never end",
    ),
    "a rule that is itself": ("root ::= root", "never end"),
    "a repetition backwards": ('root ::= "x"{5,3}', "n less than m"),
    "a repetition of a million": ('root ::= "x"{1000000}', "500,000"),
    "a repetition of a long text": ('root ::= "' + "a" * 60_000 + '"{2000}', "500,000"),
    "a repetition of repetitions": ('root ::= (("x"{0,90}){0,90}){0,90}', "repe"),
    "a count of 30 digits": ('root ::= "x"{' + "9" * 30 + "}", "9 digits"),
    "deep nesting": ("root ::= " + "(" * 100_000 + '"x"' + ")" * 100_000, "nested deeper"),
    "branching without text": (_chain(20, '{next} "a" | {next} "b"'), "10,000 ways"),
    "20,000 alternatives": (
        "root ::= " + " | ".join(f'"v{i}"' for i in range(20_000)),
        "10,000 ways",
    ),
    "larger than 4 MiB": ("# " + "x" * (4 << 20) + '\nroot ::= "x"', "4 MiB"),
    "a NUL": ('root ::= "x\0y"', "NUL"),
}

# May be refused or work; nothing may crash, and apply and accept must return.
TRIED = {
    "a ladder of 64 steps": _ladder(64, "bc"),
    "a wide ladder": _ladder(64, "abcdefghijklmnopqrst"),
    "an ambiguous recursion": 'root ::= "=" root "b" | "=" root "c" | "="',
    "a chain of 20,000 rules": _chain(20_000, "{next}"),
    "a chain of 20,000 rules that may be empty": _chain(20_000, '{next} "a" | ""'),
    "100,000 rules": 'root ::= "x"\n' + "\n".join(f'r{i} ::= "x"' for i in range(100_000)),
    "3,000 alternatives": "root ::= " + " | ".join(f'"={i}"' for i in range(3_000)),
    "2,000 repetitions": 'root ::= "="{2000}',
    "200 levels": "root ::= " + "(" * 199 + '"="' + ")" * 199,
    "only alternatives": "root ::= |||",
    "an empty class": "root ::= []",
    "lone surrogates and noncharacters": 'root ::= "\\uD800" | [\\U0010FFFF-\\UFFFFFFFF]',
}

PATTERNS = {
    "nested quantifiers": "(a+)+$",
    "nested stars": "([a-zA-Z=]+)*!",
    "everything": "[\\s\\S]*?(<t>)[\\s\\S]*",
    "deep groups": "(" * 250 + "a" + ")" * 250,
    "copies of copies": "((((a{500}){500}){500}){500})",
    "1,500 options": "(a?){1500}a",
    "unbalanced": "(((",
    "a backwards range": "[z-a]",
    "a lone backslash": "\\",
    "a back-reference": "(a)\\1",
    "long": "a" * 10_000,
    "empty": "",
}


def _nested(n: int, wrap: Callable[[Any], Any], inner: Any) -> Any:
    for _ in range(n):
        inner = wrap(inner)
    return inner


SCHEMAS: dict[str, Any] = {
    "deep": _nested(500, lambda s: {"type": "object", "properties": {"a": s}}, {}),
    "a reference to itself": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a circle in allOf": {
        "allOf": [{"$ref": "#/$defs/a"}],
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "types that multiply": _nested(
        30, lambda s: {"type": ["object", "array", "null"], "properties": {"a": s}}, {}
    ),
    "a type twice": {"type": ["object", "object"]},
    "1,000 properties": {"type": "object", "properties": {f"p{i}": {} for i in range(1000)}},
    "a length that wraps around": {"type": "string", "maxLength": 2**32 + 1},
    "a negative length": {"type": "string", "minLength": -1},
    "more items than allowed": {"type": "array", "items": {}, "minItems": 5, "maxItems": 3},
    "an empty range": {"type": "integer", "minimum": 10, "maximum": 5},
    "a number beyond 64 bits": {"type": "integer", "minimum": 1e300},
    "a pattern with lookahead": {"type": "string", "pattern": "^(?=a)b$"},
    "a pattern without anchors": {"type": "string", "pattern": "abc"},
    "a deep pattern": {"type": "string", "pattern": "^" + "(" * 900 + "a" + ")" * 900 + "$"},
    "a property that may not be": {"type": "object", "properties": {"a": False}},
    "an unknown type": {"type": "nonsense"},
    "an empty enum": {"enum": []},
    "a text": "schema",
}
HARMLESS = ("a type twice", "a property that may not be")
"""Schemas of SCHEMAS that are odd, but whose meaning is clear."""


def _exercise(model: Model, grammar: str) -> str:
    try:
        with ShimGrammar(model, grammar) as tried:
            n_allowed = len(tried.allowed())
            n_accepted = tried.accept_text("=" * 64)
            return f"allows {n_allowed}, accepted {n_accepted}"
    except RefusedError as error:
        return f"refused: {error}"


def _trigger(model: Model, pattern: str) -> str:
    triggers = [{"type": "pattern", "value": pattern}]
    try:
        with ShimGrammar(model, 'root ::= "a"+', lazy=True, triggers=triggers) as tried:
            return f"accepted {tried.accept_text('a' * 1500 + 'b= ' * 500)}"
    except RefusedError as error:
        return f"refused: {error}"


def _schema(schema: Any) -> str:
    try:
        return f"grammar of {len(json_schema_to_grammar(schema))} bytes"
    except GrammarError as error:
        return f"refused: {error}"


def _report(kind: str, name: str, attempt: Callable[[], str]) -> None:
    print(json.dumps([kind, name]), end=" ", flush=True)
    print(json.dumps(attempt()), flush=True)


def main() -> None:
    with Model(sys.argv[1], ModelParams(vocab_only=True)) as model:
        for name, (grammar, _) in REFUSED.items():
            _report("refused", name, partial(_exercise, model, grammar))
        for name, grammar in TRIED.items():
            _report("tried", name, partial(_exercise, model, grammar))
        for name, pattern in PATTERNS.items():
            _report("pattern", name, partial(_trigger, model, pattern))
    for name, schema in SCHEMAS.items():
        _report("schema", name, partial(_schema, schema))


if __name__ == "__main__":
    main()
