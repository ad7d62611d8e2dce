"""Writes damaged copies of a valid GGUF: truncated, flipped bits, false counts and types.

    python scripts/hostile_gguf.py FOLDER [--count 200] [--seed 1] [--model FILE]

The same seed writes the same files. A parser must survive all of them.
"""

import argparse
import random
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEALTHY = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# Values that replace a 64-bit count: their sums and products overflow in many ways.
_COUNTS = (0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**61, 2**63 - 1, 2**63, 2**64 - 1)
_TYPES = (0, 3, 4, 6, 7, 8, 9, 10, 12, 13, 99, 2**31, 2**32 - 1)


@dataclass(slots=True)
class Anatomy:
    """The offsets of a GGUF's counts, types, tensor fields and data."""

    counts: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    dimensions: list[int] = field(default_factory=list)
    end: int = 0


class _Walker:
    """Reads the header of a file that is known to be valid (gguf.h describes the format)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 24
        self.anatomy = Anatomy(counts=[8, 16])

    def walk(self) -> Anatomy:
        n_tensors, n_entries = struct.unpack_from("<QQ", self._data, 8)
        for _ in range(n_entries):
            self._string()
            self._value(self._type())
        for _ in range(n_tensors):
            self._tensor()
        self.anatomy.end = self._at
        return self.anatomy

    def _take(self, form: str) -> int:
        value: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _type(self) -> int:
        self.anatomy.types.append(self._at)
        return self._take("<I")

    def _string(self) -> None:
        self.anatomy.counts.append(self._at)
        length = self._take("<Q")
        self._at += length

    def _value(self, kind: int) -> None:
        if kind == _STRING:
            self._string()
        elif kind == _ARRAY:
            self._array()
        else:
            self.anatomy.numbers.append(self._at)
            self._at += _SIZES[kind]

    def _array(self) -> None:
        kind = self._type()
        self.anatomy.counts.append(self._at)
        count = self._take("<Q")
        if kind in _SIZES:
            self._at += count * _SIZES[kind]
            return
        for _ in range(count):
            # Not recorded: a vocabulary has many strings, all alike.
            self._at += 8 + struct.unpack_from("<Q", self._data, self._at)[0]

    def _tensor(self) -> None:
        self._string()
        self.anatomy.types.append(self._at)
        for _ in range(self._take("<I")):
            self.anatomy.dimensions.append(self._at)
            self._at += 8
        self._type()
        self.anatomy.dimensions.append(self._at)
        self._at += 8


Damage = Callable[[random.Random, bytearray, Anatomy], None]


def _truncate(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    end = anatomy.end if chance.random() < 0.5 else len(data)
    del data[chance.randrange(end) :]


def _lie_about_counts(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    struct.pack_into("<Q", data, chance.choice(anatomy.counts), chance.choice(_COUNTS))


def _lie_about_tensors(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    for place in chance.sample(anatomy.dimensions, chance.randint(1, 3)):
        struct.pack_into("<Q", data, place, chance.choice(_COUNTS))


def _change_types(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    struct.pack_into("<I", data, chance.choice(anatomy.types), chance.choice(_TYPES))


def _change_numbers(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    for place in chance.sample(anatomy.numbers, chance.randint(1, 3)):
        struct.pack_into("<I", data, place, chance.choice(_COUNTS) & 0xFFFF_FFFF)


def _flip_bits(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(anatomy.end)] ^= 1 << chance.randrange(8)


def _fill_with_noise(chance: random.Random, data: bytearray, anatomy: Anatomy) -> None:
    start = chance.randrange(4, anatomy.end)
    length = chance.choice((8, 64, 4096))
    data[start : start + length] = chance.randbytes(length)


DAMAGES: dict[str, Damage] = {
    "truncated": _truncate,
    "counts": _lie_about_counts,
    "tensors": _lie_about_tensors,
    "types": _change_types,
    "numbers": _change_numbers,
    "bits": _flip_bits,
    "noise": _fill_with_noise,
}


def write_hostile_files(
    folder: Path, count: int, seed: int = 1, healthy: Path = HEALTHY
) -> list[Path]:
    """Write `count` files, cycling through the kinds of damage; returns their paths."""
    original = healthy.read_bytes()
    anatomy = _Walker(original).walk()
    chance = random.Random(seed)
    kinds = list(DAMAGES)
    paths = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        data = bytearray(original)
        DAMAGES[kind](chance, data, anatomy)
        paths.append(folder / f"hostile-{number:03}-{kind}.gguf")
        paths[-1].write_bytes(data)
    return paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, default=HEALTHY)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_hostile_files(arguments.folder, arguments.count, arguments.seed, arguments.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
