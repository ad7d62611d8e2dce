"""The public names of `import llamabind`, and what the import must not load."""

from __future__ import annotations

import subprocess
import sys

import llamabind


def test_every_public_name_resolves():
    missing = [name for name in llamabind.__all__ if getattr(llamabind, name, None) is None]
    assert missing == []


def test_all_lists_exactly_the_lazy_names():
    assert set(llamabind.__all__) == {*llamabind._MODULES, "__version__"}


def test_importing_the_pure_parts_loads_neither_ctypes_nor_numpy():
    code = (
        "import sys, llamabind, llamabind.sampling.params, llamabind.request;"
        "print([name for name in ('ctypes', 'numpy', 'llamabind._capi') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_wrong_name_is_an_attribute_error():
    assert not hasattr(llamabind, "no_such_name")
