"""Help and version of the command `llamabind` import little, so that they answer at once."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"]])
def test_help_and_version_load_no_native_code_and_no_numpy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from llamabind.__main__ import main\n"
        f"sys.argv = ['llamabind', *{arguments!r}]\n"
        "try:\n"
        "    assert main() == 0\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "names = ('ctypes', 'numpy', 'llamabind._capi', 'llamabind.bug_report', 'asyncio')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
