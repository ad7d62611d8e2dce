"""Parsers of flags that take a set of CPUs."""

import os

from server.cli.values.numbers import integer

# 1024 CPUs, like Linux's own masks (CPU_SETSIZE).
_MAX_MASK_DIGITS = 256


def cpu_mask(text: str) -> tuple[int, ...]:
    """The CPUs of a hexadecimal mask."""
    digits = text.strip().lower().removeprefix("0x")
    if not digits or len(digits) > _MAX_MASK_DIGITS or set(digits) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a hexadecimal mask of CPUs, such as ff")
    mask = int(digits, 16)
    cpus = tuple(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)
    if not cpus:
        raise ValueError("the mask selects no CPU")
    return cpus


def cpu_range(text: str) -> tuple[int, ...]:
    """The CPUs of a range, such as 0-7; either end may be left out."""
    first, dash, last = text.strip().partition("-")
    last_cpu = (os.cpu_count() or 1) - 1
    if not dash:
        raise ValueError(f"{text!r} is not a range of CPUs, such as 0-7")
    number = integer(0, 4 * _MAX_MASK_DIGITS - 1)
    low, high = number(first or "0"), number(last or str(last_cpu))
    if low > high:
        raise ValueError(f"{text!r} selects no CPU: its first CPU is above its last")
    return tuple(range(low, high + 1))
