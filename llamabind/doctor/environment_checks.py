"""Checks outside the package: the build cache folder and the server's port."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB = 2**30
# Disk space for llama.cpp's source, its build tree and the result.
_BUILD_NEEDS = 2 * _GIB


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that caches native builds, as scripts/llama_source.py chooses it."""
    if chosen := environment.get("LLAMABIND_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "llamabind"


def check_cache(folder: Path) -> Finding:
    """Try to write to the build cache; without it each install compiles llama.cpp again."""
    name = "build cache"
    advice = f"make {folder} a writable folder, or set LLAMABIND_CACHE_DIR to one"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written to: {error.strerror}"
        return Finding(
            name, "warning", detail, f"{advice}; otherwise each install compiles llama.cpp"
        )
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / _GIB:.1f} GiB of disk free"
    if free < _BUILD_NEEDS:
        need = (
            f"a build of llama.cpp needs about {_BUILD_NEEDS / _GIB:.0f} GiB: free some disk space"
        )
        return Finding(name, "warning", detail, f"{need}, or set LLAMABIND_CACHE_DIR")
    return Finding(name, "ok", detail)


def check_port(port: int, host: str = "127.0.0.1") -> Finding:
    """Try to listen on the server's port, as the server does."""
    name = f"port {port}"
    with socket.socket() as listener:
        if os.name == "posix":  # ignore closed connections of an earlier server
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            return _taken(name, port, error)
    return Finding(name, "ok", f"free on {host}")


def _taken(name: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        detail = "in use by another program, perhaps a running server"
    elif error.errno == errno.EACCES:
        detail = "reserved for root, as ports below 1024 usually are"
    else:
        detail = f"not available: {error.strerror}"
    other = port + 1 if 1024 <= port < 65535 else 8080
    return Finding(
        name, "warning", detail, f"start the server with another --port, such as {other}"
    )
