"""Fixtures of the tests that open native libraries anew."""

from collections.abc import Iterator

import pytest

from llamabind._capi import loader
from llamabind._capi.loader import library_directory


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The loader as at the start of a process: no library opened, no CPU checked."""
    monkeypatch.setattr(loader, "_opened", {})
    monkeypatch.setattr(loader, "_is_checked", False)
    library_directory.cache_clear()
    yield
    library_directory.cache_clear()
