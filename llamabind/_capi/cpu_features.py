"""Compares the instruction sets that the native libraries need with this CPU, to prevent a SIGILL.

libllamabind-cpu reports both (csrc/cpu_features.cpp). It is compiled for the oldest CPU of its
architecture and opened before every other library, because those may use newer instructions as
soon as they are opened.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llamabind._capi.opening import misfit, open_file
from llamabind.errors import UnsupportedCpuError

_TEXT_BYTES: Final = 1024
# Instruction sets that identify a generation of CPUs, newest first.
_GENERATIONS: Final = {
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "sse4_2": "SSE4.2",
    "sme": "SME",
    "sve2": "SVE2",
    "sve": "SVE",
    "i8mm": "int8 matrix products",
    "dotprod": "dot products",
}


@dataclass(frozen=True, slots=True)
class CpuReport:
    """Instruction sets that the libraries need or use if present, and those found on this CPU.

    `found` has only sets that the check knows. If it knows none for the platform, all three are
    empty. `cpu` is the CPU's own name.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    found: tuple[str, ...]
    cpu: str

    @property
    def missing(self) -> tuple[str, ...]:
        """The sets that the libraries need and this CPU lacks; those of _GENERATIONS come first."""
        missing = (name for name in self.needed if name not in self.found)
        return tuple(sorted(missing, key=lambda name: name not in _GENERATIONS))

    @property
    def built_for(self) -> str:
        """The newest instruction sets of the build in few words, such as "AVX-512 and AMX"."""
        names = [text for name, text in _GENERATIONS.items() if name in self.needed][:1]
        if any(name.startswith("amx") for name in self.optional):
            names.append("AMX")
        return " and ".join(names) or "any CPU of its kind"


def read_cpu_report(library: Path) -> CpuReport | None:
    """Read the report of libllamabind-cpu; None without such a file, as in a foreign build."""
    if not library.is_file():
        return None
    opened = open_file(library)
    try:
        return CpuReport(
            needed=_constant(opened, "lb_cpu_needed"),
            optional=_constant(opened, "lb_cpu_optional"),
            found=tuple(_filled(opened, "lb_cpu_found").split()),
            cpu=" ".join(_filled(opened, "lb_cpu_name").split()),
        )
    except AttributeError as error:
        raise misfit(library, error) from error


def check_cpu(library: Path) -> None:
    """Raises UnsupportedCpuError if the other libraries could end the process with SIGILL."""
    report = read_cpu_report(library)
    if report is not None and report.missing:
        raise UnsupportedCpuError(report.built_for, report.cpu, report.missing)


def _constant(library: ctypes.CDLL, name: str) -> tuple[str, ...]:
    text: bytes = ctypes.CFUNCTYPE(ctypes.c_char_p)((name, library))()
    return tuple(text.decode().split())


def _filled(library: ctypes.CDLL, name: str) -> str:
    memory = ctypes.create_string_buffer(_TEXT_BYTES)
    ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_size_t)((name, library))(memory, len(memory))
    return memory.value.decode("utf-8", "replace")
