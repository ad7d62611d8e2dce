"""EstimateStore: remembers estimates, also in a file for the next start of the server."""

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

import llamabind
from server.cache_files import read_cache_file, write_cache_file
from server.protocol.loading import Estimated

_FORMAT: Final = 1
_MAX_KNOWN: Final = 256
_MAX_BYTES: Final = 4 << 20
# Variables that change what native code allocates, or the devices that it finds.
_VARIABLES: Final = ("LLAMABIND_", "GGML_", "CUDA_", "HIP_", "ROCR_", "SYCL_", "ZE_", "OMP_")
_DEVICES: Final = ("/dev/nvidia*", "/dev/dri/*", "/dev/kfd", "/dev/davinci*")


class _Entry(msgspec.Struct, frozen=True):
    key: str
    estimated: Estimated


class _Document(msgspec.Struct, frozen=True):
    """The file: estimates of one build on one machine, the latest used last."""

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    build: str
    entries: list[_Entry]


class EstimateStore:
    """The latest 256 estimates. Event loop only; a thread reads and writes the file.

    The keys name everything that an estimate depends on beside the build and the machine, which the
    file as a whole belongs to. A file that cannot be read, or of another build, is replaced.
    """

    def __init__(self, file: Path | None = None, build: str = "") -> None:
        """Without `file` nothing outlives the process; `build` is that of `installed_build`."""
        self._file = file
        self._build = build
        self._known: OrderedDict[str, Estimated] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Estimated | None:
        """The estimate, or None."""
        await self._read()
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def put(self, key: str, estimated: Estimated) -> None:
        """Remember an estimate, and write the file soon."""
        self._known[key] = estimated
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        if self._file is not None and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write(self._file))

    async def close(self) -> None:
        """Wait until the file is written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _read(self) -> None:
        if self._file is None:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._take_entries(self._file))
        await asyncio.shield(self._reading)

    async def _take_entries(self, file: Path) -> None:
        entries = await asyncio.to_thread(_read_entries, file, self._build)
        # What was estimated meanwhile is newer.
        newer, self._known = self._known, OrderedDict(entries[-_MAX_KNOWN:])
        self._known.update(newer)

    async def _write(self, file: Path) -> None:
        written: list[tuple[str, Estimated]] = []
        while written != (now := list(self._known.items())):
            await asyncio.to_thread(_write_entries, file, self._build, now)
            written = now


def estimate_file(environment: Mapping[str, str]) -> Path | None:
    """$LLAMABIND_ESTIMATES, by default $XDG_CACHE_HOME/llamabind/estimates or that in ~/.cache.

    None, so that nothing outlives the server, if the variable is empty or there is no home folder.
    """
    if (chosen := environment.get("LLAMABIND_ESTIMATES")) is not None:
        return Path(chosen) if chosen else None
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification says that relative paths are ignored.
    if base.startswith("/"):
        return Path(base, "llamabind", "estimates")
    try:
        return Path.home() / ".cache" / "llamabind" / "estimates"
    except RuntimeError:
        return None


def installed_build(environment: Mapping[str, str]) -> str:
    """A hash of the native libraries and of the machine, as far as they decide an estimate.

    Reads names, sizes and times of files only: this process loads no native code.
    """
    chosen = environment.get("LLAMABIND_LIB_DIR")
    folders = [chosen] if chosen else [os.path.join(root, "lib") for root in llamabind.__path__]  # noqa: PTH118
    libraries = [stamp for folder in folders for stamp in _stamps(Path(folder).glob("*"))]
    devices = [str(path) for pattern in _DEVICES for path in sorted(Path("/").glob(pattern[1:]))]
    variables = sorted(item for item in environment.items() if item[0].startswith(_VARIABLES))
    facts = (
        llamabind.__version__,
        libraries,
        devices,
        variables,
        os.uname().nodename,
        _cpu_flags(),
    )
    return key_of(facts)


def key_of(facts: object) -> str:
    """A hash of values that msgpack can encode."""
    return hashlib.sha256(msgspec.msgpack.encode(facts, order="deterministic")).hexdigest()


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = []
    for path in sorted(paths):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found


def _cpu_flags() -> str:
    """The CPU's instruction sets, which decide how weights are repacked; "" where not Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return os.uname().machine
    return next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")


def _read_entries(file: Path, build: str) -> list[tuple[str, Estimated]]:
    document = read_cache_file(file, _Document, _MAX_BYTES)
    if document is None or document.build != build:
        return []
    return [(entry.key, entry.estimated) for entry in document.entries if _is_whole(entry)]


def _is_whole(entry: _Entry) -> bool:
    """Whether the values may be an estimate of a load without GPUs; others are not kept."""
    estimated = entry.estimated
    sizes = (
        size
        for device in estimated.devices
        for size in (device.model_bytes, device.context_bytes, device.compute_bytes)
    )
    is_host = [device.kind for device in estimated.devices] == ["host"]
    return is_host and estimated.n_ctx > 0 and all(0 <= size < 1 << 60 for size in sizes)


def _write_entries(file: Path, build: str, entries: Iterable[tuple[str, Estimated]]) -> None:
    write_cache_file(file, _Document(_FORMAT, build, [_Entry(*entry) for entry in entries]))
