"""The ctypes declarations say what the C++ compiler says of the same headers."""

from collections import Counter

import pytest

from tests.support.abi_declared import Lines, declared_lines, differences

pytestmark = pytest.mark.abi


def test_declarations_equal_the_headers(probed: Lines) -> None:
    found = differences(declared_lines(), probed)
    assert not found, "\n".join(found)


def test_the_probe_speaks_about_everything_that_is_declared(probed: Lines) -> None:
    counts = Counter(key.split()[0] for key in probed)
    assert counts == Counter(key.split()[0] for key in declared_lines())
    assert counts["function"] > 350
    assert counts["struct"] >= 39
    assert counts["callback"] >= 12
