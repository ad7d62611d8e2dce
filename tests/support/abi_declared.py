"""The ctypes declarations as lines of text, in the form that the C++ probe prints."""

import ctypes
import enum
from _ctypes import CFuncPtr
from collections.abc import Iterable, Iterator
from typing import Any

from llamabind._capi import constants, enums, ggml, llama, mtmd, shim, types
from llamabind._capi.annotations import FIELDS, STRUCTS, CType
from llamabind._capi.loader import DECLARATIONS, Declaration

Lines = dict[str, str]
Enum = type[enum.IntEnum] | type[enum.IntFlag]

# Imported for their declarations.
NAMESPACES = (llama, ggml, mtmd, shim)


def declared_enums() -> list[Enum]:
    return [
        value
        for module in (enums, shim)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, enum.IntEnum | enum.IntFlag)
        and value not in (enum.IntEnum, enum.IntFlag)
    ]


def declared_constants() -> dict[str, int]:
    return {name: value for name, value in vars(constants).items() if name.isupper()}


def declared_callbacks() -> list[type[CFuncPtr]]:
    return [
        value
        for module in (types, shim)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, CFuncPtr) and value is not CFuncPtr
    ]


def declared_lines() -> Lines:
    """A line for each declared function, struct, field, enum constant and callback type."""
    lines: Lines = {}
    for declaration in DECLARATIONS.values():
        lines |= function_lines(declaration)
    for name, struct in STRUCTS.items():
        lines |= struct_lines(struct, FIELDS[name])
    for enumeration in declared_enums():
        lines |= enum_lines(enumeration)
    for callback in declared_callbacks():
        lines[f"callback {callback.__name__}"] = kind(callback)
    return lines | {f"constant {name}": str(value) for name, value in declared_constants().items()}


def function_lines(declaration: Declaration) -> Lines:
    arguments, result = declaration.signature()
    kinds = ", ".join(kind_of(argument) for argument in arguments)
    return {f"function {declaration.name}": f"{kind_of(result)} ({kinds})"}


def struct_lines(struct: Any, fields: dict[str, CType]) -> Lines:
    size = f"size={ctypes.sizeof(struct)} align={ctypes.alignment(struct)}"
    lines = {f"struct {struct.__name__}": size}
    for name, field in _flat(struct, fields):
        slot = getattr(struct, name)
        key = f"field {struct.__name__}.{c_name(name)}"
        lines[key] = f"offset={slot.offset} size={slot.size} {kind_of(field)}"
    return lines


def c_name(field: str) -> str:
    """The C name of a field; one that is a Python keyword is declared with a trailing `_`."""
    return field.rstrip("_")


def enum_lines(enumeration: Enum) -> Lines:
    return {
        f"enum {enumeration.__name__}.{name}": str(int(member))
        for name, member in enumeration.__members__.items()
    }


def _flat(struct: Any, fields: dict[str, CType]) -> Iterator[tuple[str, CType]]:
    for name, field in fields.items():
        if name in getattr(struct, "_anonymous_", ()):
            yield from ((inner, CType(ctype)) for inner, ctype in field.ctype._fields_)
        else:
            yield name, field


def kind_of(declared: CType) -> str:
    """One word for a C type, as the probe's kind<T>() prints it."""
    if declared.enum_type is not None:
        return f"enum32 {declared.enum_type.__name__}"
    if declared.pointee is not None:
        return f"ptr<{declared.pointee}>"
    return kind(declared.ctype)


def kind(ctype: Any, *, in_callback: bool = False) -> str:
    """As kind_of; in a callback ctypes has no names, so all structs behind pointers are void."""
    if ctype in _KINDS:
        return _KINDS[ctype]
    if issubclass(ctype, ctypes.Structure | ctypes.Union):
        return "struct ?" if hasattr(ctype, "_c_type_") else f"struct {ctype.__name__}"
    if issubclass(ctype, CFuncPtr):
        return _callback_kind(ctype)
    if issubclass(ctype, ctypes.Array):
        return f"array<{ctype._length_},{kind(ctype._type_)}>"
    if issubclass(ctype, ctypes._Pointer):
        return _pointer_kind(ctype._type_, in_callback)
    return f"{'i' if ctype(-1).value < 0 else 'u'}{8 * ctypes.sizeof(ctype)}"


def _pointer_kind(target: Any, in_callback: bool) -> str:
    if isinstance(target, type) and issubclass(target, ctypes.Structure):
        return "ptr<void>" if in_callback else f"ptr<{target.__name__}>"
    return f"ptr<{kind(target, in_callback=in_callback)}>"


def _callback_kind(callback: Any) -> str:
    arguments = ", ".join(kind(ctype, in_callback=True) for ctype in callback._argtypes_)
    return f"fn {kind(callback._restype_, in_callback=True)} ({arguments})"


_KINDS: dict[Any, str] = {
    None: "void",
    ctypes.c_bool: "bool",
    ctypes.c_char: "char",
    ctypes.c_float: "f32",
    ctypes.c_double: "f64",
    ctypes.c_char_p: "ptr<char>",
    ctypes.c_void_p: "ptr<void>",
}


def differences(declared: Lines, probed: Lines, keys: Iterable[str] | None = None) -> list[str]:
    """The differences, each with its name; only those of `keys` if given."""
    found = []
    for key in sorted(declared.keys() | probed.keys() if keys is None else keys):
        ours, theirs = declared.get(key), probed.get(key)
        if ours is None:
            found.append(f"{key}: in the header, not declared ({theirs})")
        elif theirs is None:
            found.append(f"{key}: declared, not in the header ({ours})")
        elif ours != theirs:
            found.append(f"{key}: declared {ours}, the header says {theirs}")
    return found
