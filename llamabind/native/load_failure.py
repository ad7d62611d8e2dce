"""Why a model could not be loaded: a machine-readable reason from native log lines and file names.

Pure Python. The patterns are the messages of ggml/src/gguf.cpp, src/llama-model-loader.cpp,
src/llama-model.cpp, src/llama.cpp and the backends' allocators.
"""

import re
from pathlib import Path
from typing import Final

from llamabind.errors import ModelLoadError

_SHARD: Final = re.compile(r"^(?P<prefix>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf$", re.DOTALL)

# The first pattern that matches decides.
_REASONS: Final = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        # Caused by an impossible length in a corrupt header, not by a lack of memory.
        ("corrupt_file", r"encountered (bad_alloc|length_error)|overflow"),
        (
            "out_of_memory",
            r"unable to allocate|failed to allocate|out of .*memory|bad_alloc|malloc failed"
            r"|cannot allocate memory|alloc_tensor_range: failed|mmap failed|insufficient memory"
            # EAGAIN of a thread whose stack finds no room.
            r"|resource temporarily unavailable",
        ),
        (
            "unsupported_architecture",
            r"unknown model architecture|unsupported model architecture|CLIP cannot be used"
            r"|unknown pre-tokenizer|unknown tokenizer|no longer supported|only supports up to"
            r"|not implemented for architecture|no suitable buffer type",
        ),
        ("missing_shard", r"failed to load GGUF split|invalid split count|split file"),
        (
            "corrupt_file",
            r"not within the file bounds|corrupt|invalid magic|failed to read|unexpectedly reached"
            r"|bad GGUF version|extremely large|duplicate|missing tensor|wrong number of tensors"
            r"|wrong shape|invalid data|key not found|wrong type|wrong array|has invalid"
            r"|tensor '.*' (not found|of type|has offset|size)|error loading model (hyper|vocab)"
            r"|invalid model|must be in \[|exceeds (maximum|remaining)|cannot find tokenizer",
        ),
        ("missing_file", r"failed to open"),
    )
)
_MAX_DETAIL_LINES: Final = 8


def missing_file(path: Path) -> ModelLoadError | None:
    """Return the error for a path that cannot be a model file, or a split model's missing parts."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        return ModelLoadError("missing_file", f"{path} {what}")
    missing = [shard.name for shard in shards(path) if not shard.is_file()]
    if missing:
        return ModelLoadError(
            "missing_shard", f"{path.parent} lacks {', '.join(missing)} of the split model"
        )
    return None


def shards(path: Path) -> list[Path]:
    """Return all files of the split model that `path` belongs to, or [path] for a single file."""
    match = _SHARD.match(path.name)
    # A name whose number is out of range only looks like a shard's.
    if match is None or not 1 <= int(match["no"]) <= int(match["count"]):
        return [path]
    prefix, count = match["prefix"], int(match["count"])
    return [
        path.with_name(f"{prefix}-{number:05d}-of-{count:05d}.gguf")
        for number in range(1, count + 1)
    ]


def load_error(path: Path, native_lines: list[str]) -> ModelLoadError:
    """Return the error for a load that failed after logging `native_lines`."""
    text = "\n".join(native_lines)
    reason = next((reason for reason, pattern in _REASONS if pattern.search(text)), "unknown")
    detail = "\n".join(native_lines[-_MAX_DETAIL_LINES:]) or "llama.cpp gave no reason"
    return ModelLoadError(reason, f"{path}: {detail}")
