"""The ctypes declarations match what the C++ compiler reports about the headers."""

from collections import Counter

import pytest

from tests.support.abi_declared import Lines, declared_lines, differences

pytestmark = pytest.mark.abi


def test_declarations_equal_the_headers(probed: Lines) -> None:
    found = differences(declared_lines(), probed)
    assert not found, "\n".join(found)


def test_the_probe_reports_on_every_declaration(probed: Lines) -> None:
    counts = Counter(key.split()[0] for key in probed)
    assert counts == Counter(key.split()[0] for key in declared_lines())
    assert counts["function"] > 350
    assert counts["struct"] >= 39
    assert counts["callback"] >= 12
