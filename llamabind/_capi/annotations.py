"""The annotations of the C declarations, and what each means to mypy and to ctypes.

An annotation is the one source of truth of an argument, a result or a struct field. mypy reads the
Python side; `resolve` turns it into the ctypes type, and the ABI test compares the C spelling kept
with it (the name of an opaque struct, of an enum) with the header.

`int` always comes with its width (`i32`, `size_t`); `bool`, `bytes` (const char *) and `None`
(void) stand for themselves; an IntEnum class stands for the C enum of its name; `| None` admits
NULL.
"""

import ctypes
import enum
import types
from _ctypes import CFuncPtr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as read_annotations

if TYPE_CHECKING:
    from ctypes import _CArgObject, _Pointer

    _T = TypeVar("_T", bound=ctypes._CData)
    # What ctypes accepts for a typed pointer argument: an array, a pointer, byref(x), or NULL.
    Ptr: TypeAlias = ctypes.Array[_T] | _Pointer[_T] | _CArgObject | None
    # A typed pointer that C returns; false when NULL.
    Pointer: TypeAlias = _Pointer[_T]
    # What ctypes accepts for void *: an address, bytes (for const data), and all of the above.
    VoidPtr: TypeAlias = int | bytes | ctypes.Array[Any] | _Pointer[Any] | _CArgObject | None
else:

    class Ptr:
        """`Ptr[c_float]` is `float *`, as an argument."""

        def __class_getitem__(cls, target: object) -> object:
            if get_origin(target) is Annotated:  # a pointer to a pointer
                target = get_args(target)[1]
            return Annotated[object, ctypes.POINTER(target)]

    class Pointer(Ptr):
        """`Pointer[c_float]` is `float *`, as a result or a struct field."""

    VoidPtr = Annotated[object, ctypes.c_void_p]

i8: TypeAlias = Annotated[int, ctypes.c_int8]
i16: TypeAlias = Annotated[int, ctypes.c_int16]
i32: TypeAlias = Annotated[int, ctypes.c_int32]
i64: TypeAlias = Annotated[int, ctypes.c_int64]
u8: TypeAlias = Annotated[int, ctypes.c_uint8]
u16: TypeAlias = Annotated[int, ctypes.c_uint16]
u32: TypeAlias = Annotated[int, ctypes.c_uint32]
u64: TypeAlias = Annotated[int, ctypes.c_uint64]
c_int: TypeAlias = Annotated[int, ctypes.c_int]
size_t: TypeAlias = Annotated[int, ctypes.c_size_t]
f32: TypeAlias = Annotated[float, ctypes.c_float]
f64: TypeAlias = Annotated[float, ctypes.c_double]

llama_token: TypeAlias = i32
llama_pos: TypeAlias = i32
llama_seq_id: TypeAlias = i32
llama_state_seq_flags: TypeAlias = u32

# An address as a plain int: a void * result or field.
Address: TypeAlias = Annotated[int, ctypes.c_void_p]
# char * that C writes to: ctypes.create_string_buffer(n), or None to ask for the size.
CharBuffer: TypeAlias = Annotated[ctypes.Array[ctypes.c_char] | None, ctypes.c_char_p]
# uint8_t * of raw data: bytes when C only reads it, any ctypes array when it writes.
ByteData: TypeAlias = Annotated[bytes | ctypes.Array[Any] | None, ctypes.c_void_p, "u8"]
# FILE *, which Python cannot make portably: an address from C.
FilePtr: TypeAlias = Annotated[int, ctypes.c_void_p, "FILE"]


@dataclass(frozen=True, slots=True)
class CType:
    """The C type of an annotation.

    `ctype` is what ctypes gets (None: void). `enum_type` is set for a C enum, `pointee` names what
    an otherwise untyped pointer points to.
    """

    ctype: Any
    enum_type: type[enum.IntEnum] | type[enum.IntFlag] | None = None
    pointee: str | None = None

    @property
    def restype(self) -> Any:
        """For ctypes' restype: a C enum comes back as a member of its Python class."""
        return self.enum_type or self.ctype


def resolve(annotation: Any) -> CType:
    """Return the C type of an annotation; TypeError if it has none."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(arg for arg in get_args(annotation) if arg is not types.NoneType)
    if get_origin(annotation) is Annotated:
        _, ctype, *names = get_args(annotation)
        if _is_enum(ctype):
            return CType(ctypes.c_int, enum_type=ctype)
        return CType(ctype, pointee=names[0] if names else None)
    if annotation in _PLAIN:
        return CType(_PLAIN[annotation])
    if _is_enum(annotation):
        return CType(ctypes.c_int, enum_type=annotation)
    if isinstance(annotation, type) and issubclass(annotation, _AGGREGATES):
        return CType(annotation)
    raise TypeError(f"{annotation!r} is not an annotation of a C type")


def signature_of(declaration: Any) -> tuple[list[CType], CType]:
    """Return the argument types in order, and the result type, of an annotated function."""
    hints = read_annotations(declaration, include_extras=True)
    result = resolve(hints.pop("return"))
    return [resolve(hint) for hint in hints.values()], result


_Struct = TypeVar("_Struct", bound=type[ctypes.Structure] | type[ctypes.Union])

# Every C struct and union declared with @c_struct, by its C name.
STRUCTS: dict[str, Any] = {}
# The C types of each struct's fields, in order.
FIELDS: dict[str, dict[str, CType]] = {}


def c_struct(cls: _Struct) -> _Struct:
    """Makes `_fields_` of a Structure or Union from its annotations and registers it by name.

    The class must set `__slots__ = ()`: otherwise a misspelled field would silently become a Python
    attribute that C never sees. A field whose C name is a Python keyword gets a trailing `_`.
    """
    fields = {name: resolve(hint) for name, hint in _own_annotations(cls).items()}
    cls._fields_ = [(name, field.ctype) for name, field in fields.items()]
    if "__slots__" not in vars(cls):
        raise TypeError(f"{cls.__name__} must set __slots__ = ()")
    STRUCTS[cls.__name__] = cls
    FIELDS[cls.__name__] = fields
    return cls


def _own_annotations(cls: Any) -> dict[str, Any]:
    return {
        name: hint
        for name, hint in read_annotations(cls, include_extras=True).items()
        if not name.startswith("_")
    }


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, enum.IntEnum | enum.IntFlag)


_PLAIN: dict[Any, Any] = {
    bool: ctypes.c_bool,
    bytes: ctypes.c_char_p,
    None: None,
    types.NoneType: None,
}
_AGGREGATES = (ctypes.Structure, ctypes.Union, CFuncPtr)
