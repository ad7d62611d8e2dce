"""JSON schema to grammar, by llama.cpp's converter."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from llamabind._capi import shim
from llamabind._capi.shim import lb_status
from llamabind._capi.shim_text import last_error, take_text
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.native import backend
from llamabind.schema.check import check_schema
from llamabind.schema.errors import conversion_error
from llamabind.schema.fitting import FittedSchemas
from llamabind.schema.workarounds import completed, mended


def json_schema_to_grammar(schema: Mapping[str, Any]) -> str:
    """Return GBNF for `SamplingParams.grammar` that allows only JSON that the schema describes.

    Raises GrammarError, which names the path in the schema, for a schema that llama.cpp cannot
    convert, that exceeds the limits of lb_json_schema_to_grammar (csrc/llamabind.h), or that has a
    keyword which llama.cpp would ignore (check_schema).
    """
    try:
        return grammar_of_field(schema)
    except InvalidParameterError as error:
        raise GrammarError(str(error)) from error


def grammar_of_field(schema: Mapping[str, Any]) -> str:
    """Return the grammar of a request's `json_schema`; InvalidParameterError names the path."""
    schema = completed(schema)
    check_schema(schema)
    backend.init()
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError("json_schema", f"cannot be written as JSON: {error}") from error
    grammar = shim.lb_json_schema_to_grammar(text.encode())
    if grammar:
        return mended(take_text(grammar).decode())
    if shim.lb_last_status() == lb_status.LB_INVALID:
        raise conversion_error(last_error())
    raise GrammarError(last_error())


def lenient_grammar(
    schema: Mapping[str, Any], check: Callable[[str], None]
) -> tuple[str, tuple[str, ...]]:
    """Return the grammar of a schema, relaxed as far as needed, and warnings for what it ignores.

    `check` raises GrammarError for a grammar that is too large.
    """
    fitted = FittedSchemas({"json_schema": schema, "lenient_schema": True})
    while True:
        try:
            grammar = grammar_of_field(fitted.options["json_schema"])
            check(grammar)
        except (InvalidParameterError, GrammarError) as error:
            if not fitted.weaken(error):
                raise
        else:
            return grammar, fitted.warnings
