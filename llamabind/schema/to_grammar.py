"""JSON schema to grammar, by llama.cpp's converter."""

import json
from collections.abc import Mapping
from typing import Any

from llamabind._capi import shim
from llamabind._capi.shim import lb_status
from llamabind._capi.shim_text import last_error, take_text
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.native import backend
from llamabind.schema.errors import conversion_error
from llamabind.schema.relax import strictly_relaxed
from llamabind.schema.workarounds import completed, mended


def json_schema_to_grammar(schema: Mapping[str, Any]) -> str:
    """Return GBNF for `SamplingParams.grammar` that allows only JSON that the schema describes.

    Raises GrammarError, which names the path in the schema, for a schema that llama.cpp cannot
    convert, that exceeds the limits of lb_json_schema_to_grammar (csrc/llamabind.h), or that has a
    keyword which llama.cpp would ignore.
    """
    try:
        return grammar_of_field(schema)
    except InvalidParameterError as error:
        raise GrammarError(str(error)) from error


def grammar_of_field(schema: Mapping[str, Any]) -> str:
    """Return the grammar of a request's `json_schema`; InvalidParameterError names the path."""
    if not isinstance(schema, Mapping):
        raise InvalidParameterError("json_schema", f"must be an object, not {schema!r:.100}")
    schema = completed(strictly_relaxed(schema, "json_schema", is_whole=True))
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
