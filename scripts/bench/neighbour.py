"""Another program on the same machine: a process that keeps one core half busy."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CODE = """
import time
while True:
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass
    time.sleep(0.005)
"""


@contextmanager
def half_busy_core() -> Iterator[None]:
    """Keep one core busy half of the time while the block runs."""
    process = subprocess.Popen([sys.executable, "-c", _CODE])
    try:
        yield
    finally:
        process.kill()
        process.wait()
