"""worker_environment: the environment variables of worker processes."""

import os
from typing import Final

_FIXED: Final = {
    "PYTHONUNBUFFERED": "1",
    # Otherwise ggml_abort starts a debugger, if installed, for a stack trace (ggml/src/ggml.c).
    "GGML_NO_BACKTRACE": "1",
    # Workers need no matrix products of NumPy. Its OpenBLAS would start a thread for each core when
    # NumPy is imported, and under a memory limit that hangs or ends the process without a message.
    "OPENBLAS_NUM_THREADS": "1",
}
# Put what is not mapped from a file in pages of 2 MiB, where Linux has some: with pages of 4 KiB
# the CPU spends time on address translation.
_HUGE_PAGES: Final = "glibc.malloc.hugetlb"


def worker_environment() -> dict[str, str]:
    """This process's environment with what workers need."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _HUGE_PAGES not in tunables:
        tunables = ":".join(filter(None, [*tunables.split(":"), f"{_HUGE_PAGES}=1"]))
    return os.environ | _FIXED | {"GLIBC_TUNABLES": tunables}
