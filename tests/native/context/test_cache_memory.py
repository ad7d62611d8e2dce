"""The memory of a KV cache is touched by its first tokens, and by a thread later. Linux only."""

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamabind.context.context import Context
from llamabind.context.memory_report import MemoryReport
from llamabind.context.params import ContextParams
from llamabind.errors import InvalidParameterError
from tests.support.contexts import TOKENS, decode, make_context

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(sys.platform != "linux", reason="other systems touch the memory at once"),
]

# 64 MiB, in 32 bits: malloc keeps blocks of up to 32 MiB, so only larger ones have new pages.
_LARGE: Any = {"n_ctx": 1 << 17, "type_k": "f32", "type_v": "f32", "n_seq_max": 4}
_NEVER = 1 << 30
_MIB = 1 << 20


def _touched() -> int:
    """The bytes of this process's own memory that have pages."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found
    return int(found[1]) << 10


def _cache_bytes(context: Context) -> int:
    return MemoryReport.of(context).host.context


def _other_tokens(context: Context) -> np.ndarray:
    """The logits after many tokens in several sequences."""
    for seq_id in range(1, 4):
        decode(context, TOKENS * 20, seq_id=seq_id)
    return decode(context, TOKENS)


def test_a_context_touches_the_memory_of_its_cells_only(random_llama):
    before = _touched()
    with make_context(random_llama, **_LARGE, settle_ms=_NEVER) as context:
        n_bytes = _cache_bytes(context)
        assert n_bytes >= 64 * _MIB
        logits = _other_tokens(context)
        assert _touched() - before < n_bytes // 2
    before = _touched()
    with make_context(random_llama, **_LARGE, settle_ms=-1) as context:
        assert _touched() - before >= n_bytes // 2, "-1 touches it all"
        np.testing.assert_array_equal(_other_tokens(context), logits)


def test_a_thread_touches_the_rest_while_the_context_decodes(random_llama):
    with make_context(random_llama, **_LARGE, settle_ms=-1) as context:
        expected = _other_tokens(context)
    before = _touched()
    with make_context(random_llama, **_LARGE, settle_ms=0) as context:
        n_bytes = _cache_bytes(context)

        deadline = time.monotonic() + 60
        while _touched() - before < 0.9 * n_bytes:
            assert time.monotonic() < deadline
            np.testing.assert_array_equal(_other_tokens(context), expected)
            context.memory_clear()
            time.sleep(0.005)
        np.testing.assert_array_equal(_other_tokens(context), expected)


def test_a_context_can_be_closed_at_any_time_meanwhile(random_llama):
    n_threads = threading.active_count()
    for delay in (0, 0, 0, 1, 2, _NEVER):
        context = make_context(random_llama, **_LARGE, settle_ms=delay)
        decode(context, TOKENS)
        context.close()
    assert threading.active_count() == n_threads


def test_cleared_data_is_zero_again(random_llama):
    for settle_ms in (-1, _NEVER):
        with make_context(random_llama, **_LARGE, settle_ms=settle_ms) as context:
            logits = decode(context, TOKENS)
            context.memory_clear(data=True)
            np.testing.assert_array_equal(decode(context, TOKENS), logits)


def test_a_delay_must_be_a_number_of_milliseconds():
    bad: Any
    for bad in (-2, 0.5, True, 1 << 31):
        with pytest.raises(InvalidParameterError, match="settle_ms"):
            ContextParams(settle_ms=bad)
