"""limit_memory: a lying file or a runaway request must not take the machine's memory."""

import resource


def limit_memory(n_bytes: int) -> None:
    """Let this process have so much data at most; what it asks for beyond that fails.

    Data only, not address space: a mapped file and what GPU drivers reserve do not count.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
