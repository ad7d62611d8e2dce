"""Which modules a module of the page imports, so that a browser can fetch them all at once.

Without this list a browser learns of a module only from the one that imports it: a round trip for
each level of the graph.
"""

import posixpath
import re
from collections.abc import Mapping
from typing import Final

# Statements at the start of a line, as the page's own modules have them.
_STATIC: Final = re.compile(
    rb"""^(?:import|export)\b(?:[^"';]*?\bfrom)?\s*["'](\.[^"']+)["']""", re.MULTILINE
)
# Not types in comments, such as {import("./a.js").A}.
_DYNAMIC: Final = re.compile(rb"""=>\s*import\(["'](\.[^"']+)["']\)""")


def static_imports(files: Mapping[str, bytes], entry: str) -> list[str]:
    """The paths of `entry` and of all modules that it needs before it runs, in import order."""
    found: dict[str, None] = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop(0)
        if path not in found and path in files:
            found[path] = None
            waiting += _imports(_STATIC, files, path)
    return list(found)


def dynamic_imports(files: Mapping[str, bytes], entry: str) -> list[str]:
    """The paths that `entry` and its static imports import when they need them."""
    modules = static_imports(files, entry)
    return [found for path in modules for found in _imports(_DYNAMIC, files, path)]


def _imports(pattern: "re.Pattern[bytes]", files: Mapping[str, bytes], path: str) -> list[str]:
    if path.startswith("vendor/"):
        # Libraries are single files; their text may only look like an import.
        return []
    folder = posixpath.dirname(path)
    return [
        posixpath.normpath(posixpath.join(folder, name.decode()))
        for name in pattern.findall(files[path])
    ]
