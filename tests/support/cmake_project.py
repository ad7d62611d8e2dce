"""CMake for tests, from the virtual environment or the system."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def program(name: str) -> str:
    """The path of cmake or ninja, which the extra "dev" installs."""
    found = shutil.which(name, path=_PATH)
    assert found is not None, f"no {name} in {_PATH}"
    return found


def configure(folder: Path) -> str:
    """Configures the project in `folder` to folder/build; what CMake said, on one line."""
    ninja = f"-DCMAKE_MAKE_PROGRAM={program('ninja')}"
    done = subprocess.run(
        [
            *(program("cmake"), "-G", "Ninja", ninja, "-DCMAKE_BUILD_TYPE=Release"),
            *("-S", str(folder), "-B", str(folder / "build")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())
