"""The keywords of JSON schema that constrain a value, by the type they apply to; pure Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# All other keywords are annotations, or unknown and without effect.
OF_ANY: Final = frozenset(
    {
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "enum",
        "const",
    }
)
OF_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "array": frozenset(
        {
            "items",
            "prefixItems",
            "additionalItems",
            "unevaluatedItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
        }
    ),
    "object": frozenset(
        {
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "unevaluatedProperties",
            "dependentRequired",
            "dependentSchemas",
            "dependencies",
        }
    ),
    "boolean": frozenset(),
    "null": frozenset(),
}
ALL: Final = OF_ANY.union(*OF_TYPE.values())

# Values with which a keyword does not constrain anything.
IDLE: Final[Mapping[str, tuple[object, ...]]] = {
    "uniqueItems": (False,),
    "minLength": (0,),
    "minItems": (0,),
    "minProperties": (0,),
    "required": ([],),
    "additionalProperties": (True, {}),
    "additionalItems": (True, {}),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    "patternProperties": ({},),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
}


def is_idle(key: str, value: object) -> bool:
    """Return whether a keyword with this value does not constrain anything."""
    # 0 == False in Python, but not in a schema.
    return any(type(value) is type(idle) and value == idle for idle in IDLE.get(key, ()))
