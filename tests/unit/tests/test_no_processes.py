"""The tests in tests/unit start no process and no server, so that they stay fast."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_FORBIDDEN = {"subprocess", "multiprocessing", "pytest_aiohttp", "aiohttp.test_utils"}


def test_no_unit_test_imports_what_starts_a_process_or_a_server() -> None:
    found = {
        str(file.relative_to(ROOT)): sorted(forbidden)
        for file in (ROOT / "tests" / "unit").rglob("*.py")
        if (forbidden := _reached(file) & _FORBIDDEN)
    }
    assert found == {}, "move these tests to tests/integration"


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import subprocess", "subprocess"),
        ("def f():\n    from multiprocessing import Process", "multiprocessing"),
        ("from aiohttp.test_utils import TestClient", "aiohttp.test_utils"),
        ("from aiohttp import test_utils", "aiohttp.test_utils"),
        ("from tests.support.server_app import make_app", "aiohttp.test_utils"),
    ],
)
def test_an_import_that_reaches_such_a_module_is_found(
    source: str, module: str, tmp_path: Path
) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(source)
    assert module in _reached(file)


def _reached(file: Path) -> set[str]:
    """The modules that a file imports, directly or through tests/support."""
    found: set[str] = set()
    files = [file]
    while files:
        for module in _imported(files.pop()):
            helper = ROOT / f"{module.replace('.', '/')}.py"
            if module not in found and module.startswith("tests.support.") and helper.is_file():
                files.append(helper)
            found.add(module)
    return found


def _imported(file: Path) -> Iterator[str]:
    """The names in a file's imports, and the packages that hold them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
