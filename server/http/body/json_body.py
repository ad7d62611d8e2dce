"""JSON bodies to typed structs, with errors that name the field; documents to JSON replies."""

import codecs
import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import inspect

from llamabind.errors import InvalidParameterError
from server.errors import InvalidRequestError, invalid_parameter
from server.http.body.lenient_values import lenient
from server.http.body.message_limit import check_items, check_raw

logger = logging.getLogger(__name__)

# msgspec ends its messages with the path, as in " - at `$.messages[0].role`".
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"contains unknown field `(?P<name>.*)`$", re.DOTALL)
_SHOWN_CHARACTERS = 64
# One step of a path: a field such as "messages", or an index such as "[...]".
_STEP = re.compile(r"\w+|\[[^\]]*\]")

T = TypeVar("T")

BODY: web.RequestKey[bytearray] = web.RequestKey("BODY", bytearray)
"""The body of a request, decompressed (bodies.py)."""


def json_reply(
    document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON response; `document` may be anything that msgspec encodes."""
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        headers=headers,
        content_type="application/json",
    )


async def read_body(request: web.Request, kind: type[T], *, empty: T | None = None) -> T:
    """The JSON body as `kind`, or `empty` if the body is empty. Raises InvalidRequestError.

    Values of another type than the field has are converted where they have one meaning there, such
    as 2.0 and "2" for a whole number (lenient_values.py).
    """
    raw = await read_json(request)
    if empty is not None and not raw.strip():
        return empty
    check_raw(raw, kind)
    try:
        body = _decoded(raw, kind)
        check_items(body)
        _log_unknown(raw, body)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidParameterError):
            raise invalid_parameter(error.__cause__) from None
        raise _wrong_field(str(error), kind) from None
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}", code="bad_json") from None
    except UnicodeDecodeError:
        raise InvalidRequestError("the body is not valid UTF-8", code="bad_json") from None
    except RecursionError:
        raise InvalidRequestError("the body is nested too deeply", code="bad_json") from None
    return body


async def read_json(request: web.Request) -> bytes | bytearray:
    """The body as JSON text: decompressed, and without the byte order mark of some editors."""
    raw = request[BODY] if BODY in request else await request.read()
    return raw[len(codecs.BOM_UTF8) :] if raw.startswith(codecs.BOM_UTF8) else raw


def _decoded(raw: bytes | bytearray, kind: type[T]) -> T:
    """The body as it is, or else with its values converted. Raises the error of the latter."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidParameterError):
            raise
        try:
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Such as a number with more digits than Python reads; the first error has its field.
            raise error from None
        return msgspec.convert(lenient(document, kind), type=kind)


def _log_unknown(raw: bytes | bytearray, body: Any) -> None:
    """Log the fields of a body that no struct has, nested ones included, at debug level."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    pending: list[tuple[str, Any, Any]] = [("", msgspec.json.decode(raw), body)]
    while pending:
        path, sent, parsed = pending.pop()
        if isinstance(parsed, msgspec.Struct) and isinstance(sent, dict):
            pending += _fields_inside(path, sent, parsed)
        elif isinstance(parsed, list | tuple) and isinstance(sent, list):
            pairs = enumerate(zip(sent, parsed, strict=False))
            pending += [(f"{path}[{index}]", *pair) for index, pair in pairs]


def _fields_inside(
    path: str, sent: dict[str, Any], parsed: msgspec.Struct
) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, sent and parsed value of each known field; log the unknown ones."""
    kind = type(parsed)
    known = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for name, value in sent.items():
        inside = f"{path}.{name}" if path else name
        if name in known:
            yield inside, value, getattr(parsed, known[name])
        elif name != tag:
            logger.debug("unknown field %r of a %s is ignored", inside, kind.__name__)


def _wrong_field(message: str, kind: type) -> InvalidRequestError:
    found = _PATH.search(message)
    text = message[: found.start()] if found else message
    param = found["path"].removeprefix("$").removeprefix(".") if found else ""
    if missing := _MISSING.search(text):
        param = f"{param}.{missing['name']}" if param else missing["name"]
        return InvalidRequestError(f"field '{param}' is required", param=param)
    if unknown := _UNKNOWN.search(text):
        return _unknown_field(param, unknown["name"][:_SHOWN_CHARACTERS], kind)
    if text.startswith("Invalid enum value") and (choices := choices_at(kind, param)):
        text = f"{text}, expected one of {', '.join(map(repr, choices))}"
    where = f"field '{param}': " if param else "the request body: "
    return InvalidRequestError(where + text[:1].lower() + text[1:], param=param or None)


def _unknown_field(path: str, name: str, kind: type) -> InvalidRequestError:
    """The error for an unknown field of a struct that forbids them: a dropped field would look
    applied.
    """
    param = f"{path}.{name}" if path else name
    nearest = difflib.get_close_matches(name, fields_at(kind, path), 1, cutoff=0.0)
    hint = f"; the nearest known field is '{nearest[0]}'" if nearest else ""
    return InvalidRequestError(f"field '{param}' is not known{hint}", param=param)


# Bounded, because paths contain list indices that clients choose.
@lru_cache(maxsize=256)
def choices_at(kind: type, path: str) -> tuple[str, ...]:
    """The values allowed at `path`, such as "messages[...].role", in a document of type `kind`; ()
    if the path does not lead to a Literal.
    """
    found = [
        value
        for leaf in _types_at(kind, path)
        if isinstance(leaf, inspect.LiteralType)
        for value in leaf.values
    ]
    return tuple(dict.fromkeys(map(str, found)))


def fields_at(kind: type, path: str) -> tuple[str, ...]:
    """The fields of the object at `path` in a document of type `kind`; () for anything else."""
    return tuple(
        field.encode_name
        for leaf in _types_at(kind, path)
        if isinstance(leaf, inspect.StructType)
        for field in leaf.fields
    )


def _types_at(kind: type, path: str) -> Iterator[inspect.Type]:
    types: Iterable[inspect.Type] = [inspect.type_info(kind)]
    for step in _STEP.findall(path):
        types = [inner for outer in _flat(types) for inner in _inside(outer, step)]
    return _flat(types)


def _flat(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    """The types with unions and Annotated resolved."""
    for kind in types:
        if isinstance(kind, inspect.UnionType):
            yield from _flat(kind.types)
        elif isinstance(kind, inspect.Metadata):
            yield from _flat((kind.type,))
        else:
            yield kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    if step.startswith("["):
        if isinstance(kind, inspect.DictType):
            yield kind.value_type
        elif isinstance(kind, inspect.ListType | inspect.SetType | inspect.VarTupleType):
            yield kind.item_type
    elif isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == step)
