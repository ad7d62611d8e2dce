"""A wrong declaration makes the comparison fail, and the failure names it."""

import ctypes
import enum
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llamabind._capi import annotations, llama_structs
from llamabind._capi.annotations import FIELDS, STRUCTS, Ptr, i64, resolve, u64
from llamabind._capi.callbacks import ggml_abort_callback
from llamabind._capi.enums import llama_split_mode
from llamabind._capi.handles import ModelPtr
from llamabind._capi.loader import DECLARATIONS
from tests.support.abi_breaking import function_with, replaced, struct_with, swapped, without
from tests.support.abi_declared import (
    Lines,
    c_name,
    declared_callbacks,
    declared_enums,
    differences,
    enum_lines,
    kind,
    struct_lines,
)

pytestmark = pytest.mark.abi


def _struct_differences(name: str, broken: Lines, probed: Lines) -> list[str]:
    of_struct = {key for key in probed if key.startswith((f"struct {name}", f"field {name}."))}
    return differences(broken, probed, of_struct | broken.keys())


def _fields() -> Iterator[tuple[str, str]]:
    return ((struct, field) for struct in STRUCTS for field in FIELDS[struct])


def test_every_dropped_field_is_named(probed: Lines) -> None:
    for struct, field in _fields():
        found = _struct_differences(struct, struct_with(struct, without(field)), probed)
        # The anonymous union has no name in C; the report uses its first member.
        named = "val_i64" if field == "value" and "override" in struct else c_name(field)
        expected = f"field {struct}.{named}: in the header, not declared"
        assert any(line.startswith(expected) for line in found), (struct, field, found)


def test_every_two_swapped_fields_are_named(probed: Lines) -> None:
    for struct in STRUCTS:
        for first, second in pairwise(FIELDS[struct]):
            broken = struct_with(struct, swapped(first, second))
            found = _struct_differences(struct, broken, probed)
            named = tuple(f"field {struct}.{c_name(field)}: declared" for field in (first, second))
            assert any(line.startswith(named) for line in found), (struct, first, second, found)


def test_every_dropped_argument_is_named(probed: Lines) -> None:
    for name, declaration in DECLARATIONS.items():
        arguments, _ = declaration.signature()
        for position in range(len(arguments)):
            broken = function_with(name, _without_argument(position))
            [found] = differences(broken, probed, broken)
            assert found.startswith(f"function {name}: declared ")


def _without_argument(position: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda hints: without(list(hints)[position])(hints)


def test_every_dropped_function_is_named(probed: Lines) -> None:
    for name in DECLARATIONS:
        [found] = differences({}, probed, [f"function {name}"])
        assert found.startswith(f"function {name}: in the header, not declared")


@pytest.mark.parametrize(
    ("function", "argument", "wrong"),
    [
        ("llama_decode", "ctx", ModelPtr),
        ("llama_decode", "return", i64),
        ("llama_memory_seq_rm", "p1", i64),
        ("llama_memory_clear", "data", annotations.u8),
        ("llama_sampler_init_top_p", "p", annotations.f64),
        ("llama_tokenize", "tokens", Ptr[ctypes.c_int64]),  # type: ignore[misc] # an alias, to mypy
        ("llama_model_load_from_file", "params", llama_structs.llama_context_params),
        ("llama_split_path", "split_no", llama_split_mode),
        ("llama_log_set", "log_callback", ggml_abort_callback),
    ],
)
def test_a_wrong_type_in_a_function_is_named(
    function: str, argument: str, wrong: object, probed: Lines
) -> None:
    broken = function_with(function, replaced(argument, wrong))
    [found] = differences(broken, probed, broken)
    assert found.startswith(f"function {function}: declared ")


@pytest.mark.parametrize(
    ("struct", "field", "wrong"),
    [
        ("llama_context_params", "n_ctx", u64),
        ("llama_context_params", "n_ctx", annotations.i32),
        ("llama_context_params", "type_v", annotations.i32),
        ("llama_context_params", "ctx_other", ModelPtr),
        ("llama_batch", "logits", annotations.Pointer[ctypes.c_int32]),
        ("llama_model_params", "progress_callback", ggml_abort_callback),
    ],
)
def test_a_wrong_type_of_a_field_is_named(
    struct: str, field: str, wrong: object, probed: Lines
) -> None:
    broken = struct_with(struct, replaced(field, resolve(wrong)))
    found = _struct_differences(struct, broken, probed)
    assert any(line.startswith(f"field {struct}.{field}: declared ") for line in found)


def test_every_changed_or_dropped_enum_value_is_named(probed: Lines) -> None:
    for enumeration in declared_enums():
        for name, member in enumeration.__members__.items():
            key = f"enum {enumeration.__name__}.{name}"
            values = {other: int(value) for other, value in enumeration.__members__.items()}
            changed = enum.IntEnum(enumeration.__name__, values | {name: 4711})  # type: ignore[misc]
            [found] = differences(enum_lines(changed), probed, enum_lines(changed))
            assert found == f"{key}: declared 4711, the header says {int(member)}"
            assert differences({}, probed, [key]) == [
                f"{key}: in the header, not declared ({int(member)})"
            ]


def test_every_changed_callback_is_named(probed: Lines) -> None:
    for callback in declared_callbacks():
        made: Any = callback  # typeshed does not know what a prototype of ctypes is made of
        body = {
            "_flags_": made._flags_,
            "_restype_": made._restype_,
            "_argtypes_": made._argtypes_[:-1],
        }
        broken = {f"callback {callback.__name__}": kind(type("broken", (made.__base__,), body))}
        [found] = differences(broken, probed, broken)
        assert found.startswith(f"callback {callback.__name__}: declared fn ")


def test_a_line_deleted_from_the_source_is_named(
    probed: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the source: llama_structs.py without one line."""
    source = Path(llama_structs.__file__).read_text(encoding="utf-8")
    assert source.count("    n_ubatch: u32\n") == 1
    monkeypatch.setattr(annotations, "STRUCTS", {})
    monkeypatch.setattr(annotations, "FIELDS", {})
    exec(source.replace("    n_ubatch: u32\n", ""), {"__name__": llama_structs.__name__})
    name = "llama_context_params"
    broken = struct_lines(annotations.STRUCTS[name], annotations.FIELDS[name])
    found = _struct_differences(name, broken, probed)
    # The size of the struct does not change: padding replaces the four bytes.
    assert not any(line.startswith(f"struct {name}") for line in found)
    missing = f"field {name}.n_ubatch: in the header, not declared"
    assert any(line.startswith(missing) for line in found)
