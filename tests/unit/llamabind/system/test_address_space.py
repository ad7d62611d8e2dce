"""The message of a process without memory names the limit that it has met."""

from __future__ import annotations

import errno
import resource
import ssl

import pytest

from llamabind.errors import is_out_of_memory
from llamabind.system.address_space import limit_text, no_memory_left


def _limit(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (n_bytes, n_bytes))


@pytest.mark.parametrize(("error", "detail"), [(MemoryError(), ""), (MemoryError("x"), " (x)")])
def test_the_message_is_never_empty(
    monkeypatch: pytest.MonkeyPatch, error: MemoryError, detail: str
) -> None:
    _limit(monkeypatch, 200_000 << 10)
    assert no_memory_left(error) == (
        f"no memory is left{detail}; ulimit -v limits each process to 195 MB of address space, "
        "which is too little"
    )
    _limit(monkeypatch, resource.RLIM_INFINITY)
    assert limit_text() == ""
    assert no_memory_left(error).startswith(f"no memory is left{detail}; ")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ssl.SSLError("[CRYPTO] malloc failure (_ssl.c:3098)"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (ImportError("libz.so.1: cannot allocate memory in static TLS block"), True),
        (ImportError("No module named 'x'"), False),
        (OSError(errno.ENOENT, "No such file"), False),
        (RuntimeError("cannot join thread before it is started"), False),
    ],
)
def test_which_errors_say_that_memory_is_exhausted(error: Exception, *, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
