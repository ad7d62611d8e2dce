"""JSON schemas made by Hypothesis: usual ones, and a few that cannot be enforced."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Schema = dict[str, Any]
Made = st.SearchStrategy[Schema]

# Names and values with the characters that are special in JSON, in GBNF, or in rule names.
_TEXTS = st.text('ab"\\\n]^-*/.~ é\U0001f600', max_size=5)
_NAMES = st.one_of(st.sampled_from(["name", "id", "user", "user-name", "kv", "0"]), _TEXTS)
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.floats(-9, 9)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=3,
)
_PATTERNS = (
    "^[a-z]{2,5}$",
    "^(red|green|blue)-[0-9]+$",
    "^[A-F0-9_-]{1,8}(\\.[a-z]{2})?$",
    "^\\+?[0-9]{3}( [0-9]{2}){1,2}$",
    "^a|b+$",
    "^é[à-ü]{1,3}$",
)
_UNUSUAL_PATTERNS = ("^ab\\.*c?$", "^aé*$", "^x{,2}$", "^a{1, 2}$", "^\\d+$", "[a-z]", "^.$")
_BOUNDS = st.integers(-3000, 3000)
_MERGED = {"type": "object", "properties": {"merged": {"type": "boolean"}}, "required": ["merged"]}
_DEFINITIONS = ("node", "node-next", "node next")


def _fixed(**keywords: Any) -> Made:
    """A schema of these keywords, sometimes with an annotation that constrains nothing."""
    given_values = {key: _strategy(value) for key, value in keywords.items()}
    return st.fixed_dictionaries(given_values, optional={"title": _TEXTS})


def _strategy(value: Any) -> st.SearchStrategy[Any]:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


def _ordered(low: str, high: str, values: st.SearchStrategy[int]) -> Made:
    """Both limits in ascending order, one of them, or none."""
    pairs = st.tuples(values, values).map(sorted)
    return st.tuples(pairs, st.sampled_from(["", low, high, low + high])).map(
        lambda made: {
            key: value for key, value in zip((low, high), made[0], strict=True) if key in made[1]
        }
    )


def _with(kind: str, limits: Made) -> Made:
    return limits.map(lambda made: {"type": kind, **made})


_LEAVES: Made = st.one_of(
    _fixed(type=st.sampled_from(["boolean", "null", "number", "integer", "string"])),
    _fixed(type=st.lists(st.sampled_from(["string", "null", "integer"]), min_size=1, unique=True)),
    _with("string", _ordered("minLength", "maxLength", st.integers(0, 12))),
    _fixed(type="string", pattern=st.sampled_from(_PATTERNS)),
    _fixed(format=st.sampled_from(["date", "time", "date-time", "uuid"])),
    _with("integer", _ordered("minimum", "maximum", _BOUNDS)),
    _with("integer", _ordered("exclusiveMinimum", "exclusiveMaximum", _BOUNDS)),
    _with("integer", _ordered("minimum", "exclusiveMaximum", _BOUNDS)),
    _fixed(enum=st.lists(_VALUES, min_size=1, max_size=4)),
    _fixed(const=_VALUES),
    _fixed(),
)
# May be refused; if it is accepted, it must be enforced.
_UNUSUAL: Made = st.one_of(
    _fixed(type="string", pattern=st.sampled_from(_UNUSUAL_PATTERNS)),
    _fixed(type="number", minimum=_BOUNDS),
    _fixed(type="integer", multipleOf=st.integers(1, 3)),
    _fixed(type="integer", exclusiveMinimum=_BOUNDS, maximum=_BOUNDS),
    _fixed(type="array", uniqueItems=True),
    _fixed(format="email"),
    _fixed(),
)


def _object(inner: Made, *, closed: bool) -> Made:
    properties = st.dictionaries(_NAMES, inner, min_size=1, max_size=4)
    beside = st.booleans() if closed else st.one_of(st.just(True), inner)

    def complete(parts: tuple[Schema, Any, int]) -> Schema:
        members, additional, n_required = parts
        required = list(members)[:n_required]
        made = {"type": "object", "properties": members, "required": required}
        return made if closed and additional else {**made, "additionalProperties": additional}

    return st.tuples(properties, beside, st.integers(0, 4)).map(complete)


def _merge(part: Schema) -> list[Schema]:
    return [{key: part[key] for key in ("type", "properties", "required")}, _MERGED]


def _one_of(inner: Made) -> Made:
    """Alternatives that most often differ: by type, by value, or by one that all objects have."""
    kinds = st.sampled_from(["boolean", "null", "integer", "string"])
    by_type = st.lists(kinds, min_size=1, unique=True).map(lambda made: [{"type": k} for k in made])
    tagged = st.lists(inner, min_size=2, max_size=2).map(
        lambda made: [
            {
                "type": "object",
                "properties": {"kind": {"const": index}, "value": value},
                "required": ["kind"],
            }
            for index, value in enumerate(made)
        ]
    )
    return _fixed(oneOf=st.one_of(by_type, tagged))


def _deeper(inner: Made) -> Made:
    several = st.lists(inner, min_size=1, max_size=3)
    limits = _ordered("minItems", "maxItems", st.integers(0, 4))
    return st.one_of(
        st.tuples(limits, inner).map(lambda made: {"type": "array", **made[0], "items": made[1]}),
        _fixed(type="array", prefixItems=several),
        _object(inner, closed=True),
        _object(inner, closed=True),
        _object(inner, closed=False),
        _fixed(type="object", additionalProperties=inner),
        _fixed(anyOf=several),
        _one_of(inner),
        _fixed(allOf=_object(inner, closed=True).map(_merge)),
    )


def _defining(inner: Made) -> Made:
    """A schema some of whose properties refer to definitions, and these to one another."""
    refs = st.sampled_from(_DEFINITIONS).map(lambda name: {"$ref": f"#/$defs/{name}"})
    definitions = st.fixed_dictionaries(
        {name: _object(st.one_of(inner, inner, refs), closed=True) for name in _DEFINITIONS}
    )
    root = _object(st.one_of(refs, inner), closed=True)
    return st.tuples(root, definitions).map(lambda made: {**made[0], "$defs": made[1]})


def made_schemas(number: int) -> list[Schema]:
    """`number` different schemas, the same ones in every run."""
    made: list[Schema] = []
    inner = st.one_of(*[_LEAVES] * 24, _UNUSUAL, _deeper(_LEAVES), _deeper(_LEAVES))
    schemas = st.one_of(_deeper(inner), _deeper(inner), _defining(_LEAVES))

    @settings(
        max_examples=2 * number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schemas)
    def collect(schema: Schema) -> None:
        if schema not in made:
            made.append(schema)

    collect()
    return made[:number]
