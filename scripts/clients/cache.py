"""Where clients are installed: folders outside the checkout, one for each list of versions."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_VERSIONS = Path(__file__).with_name("versions")
_SCRIPTS = Path(__file__).with_name("node")
_DONE = ".installed"


def cache_folder() -> Path:
    """The folder for all clients; the variable CLIENTS_CACHE replaces it."""
    if chosen := os.environ.get("CLIENTS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llamabind-clients"


def python_environment(name: str) -> Path:
    """The folder of a virtual environment with the packages of versions/NAME.txt."""
    requirements = _VERSIONS / f"{name}.txt"
    folder = cache_folder() / f"python-{name}-{_digest(requirements)}"
    if not (folder / _DONE).exists():
        # uv chooses among thousands of versions in seconds, pip in minutes.
        uv = [str(tools() / "uv"), "pip", "install", "-q", "--python", str(folder / "bin/python")]
        _start_over(folder)
        _call([sys.executable, "-m", "venv", str(folder)])
        _call([*uv, "-r", str(requirements)])
        (folder / _DONE).touch()
    return folder


def tools() -> Path:
    """The folder of the programs node, npm and uv, in the versions of versions/tools.txt."""
    requirements = _VERSIONS / "tools.txt"
    folder = cache_folder() / f"tools-{_digest(requirements)}"
    if not (folder / _DONE).exists():
        _start_over(folder)
        _call([sys.executable, "-m", "venv", str(folder)])
        _call([str(folder / "bin/pip"), "install", "-q", "-r", str(requirements)])
        (folder / _DONE).touch()
    return folder / "bin"


def node_environment(name: str) -> Path:
    """The folder of node_modules with the packages of versions/NAME/package.json."""
    package = _VERSIONS / name / "package.json"
    folder = cache_folder() / f"{name}-{_digest(package)}"
    if not (folder / _DONE).exists():
        _start_over(folder)
        folder.mkdir(parents=True)
        shutil.copy(package, folder)
        npm = [str(tools() / "npm"), "--prefix", str(folder), "--no-audit", "--no-fund"]
        _call([*npm, "install"])
        # Some agents fetch or link their program after the install.
        _call([*npm, "rebuild", "--foreground-scripts"])
        (folder / _DONE).touch()
    # An ES module finds packages beside itself only.
    for script in _SCRIPTS.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _start_over(folder: Path) -> None:
    print(f"installing {folder.name}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)


def _call(command: Sequence[str]) -> None:
    path = os.environ.get("PATH", os.defpath)
    path = f"{Path(command[0]).parent}:{path}"  # npm calls the node beside it
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "PATH": path})
