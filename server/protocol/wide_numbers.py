"""with_narrow_numbers: a job without integers that msgpack and llama.cpp cannot hold.

JSON has integers of any size, and generated schemas have bounds such as 2**64. Except in strict
tools and schemas, such a number is rounded to the nearest 64-bit float, as most JSON readers do.
"""

import sys
from typing import Any, Final, NamedTuple

import msgspec

from server.protocol.job import ChatPrompt, Job

LEAST: Final = -(1 << 63)
MOST: Final = (1 << 64) - 1
"""The range of integers that msgpack can encode."""
_SHOWN_DIGITS: Final = 24


class NarrowedJob(NamedTuple):
    """A job, and a warning for each of its numbers that is rounded."""

    job: Job
    warnings: tuple[str, ...]


def with_narrow_numbers(job: Job) -> NarrowedJob:
    """The job with the wide integers of its tools, schemas and template variables rounded.

    Those of tools and schemas with `strict` are left as they are.
    """
    prompt, rounding = job.prompt, _Rounding()
    fields: dict[str, Any] = {}
    if not isinstance(prompt, ChatPrompt):
        fields["json_schema"] = rounding.of(prompt.json_schema, "json_schema")
    else:
        tools = enumerate(prompt.tools or ())
        if prompt.tools:
            fields["tools"] = [
                tool if _is_strict(tool) else rounding.of(tool, f"tools[{index}]")
                for index, tool in tools
            ]
        if prompt.lenient_schema:
            fields["json_schema"] = rounding.of(prompt.json_schema, "json_schema")
        name = "chat_template_kwargs"
        fields[name] = rounding.of(prompt.chat_template_kwargs, name)
    changed = msgspec.structs.replace(prompt, **fields)
    return NarrowedJob(msgspec.structs.replace(job, prompt=changed), tuple(rounding.warnings))


class _Rounding:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def of(self, value: Any, path: str) -> Any:
        """`value`, decoded JSON, with its wide integers as floats."""
        if isinstance(value, dict):
            return {key: self.of(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if not is_wide(value):
            return value
        rounded = _nearest_float(value)
        text = _shown(value)
        self.warnings.append(f"{path}: {text} is rounded to {rounded!r}: it has over 64 bits")
        return rounded


def is_wide(value: Any) -> bool:
    """Whether a value is an integer that msgpack cannot encode."""
    return isinstance(value, int) and not LEAST <= value <= MOST


def _nearest_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def _shown(value: int) -> str:
    # Python refuses to write integers of several thousand digits.
    return str(value) if value.bit_length() < 4 * _SHOWN_DIGITS else "a longer integer"


def _is_strict(tool: dict[str, Any]) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and bool(function.get("strict"))
