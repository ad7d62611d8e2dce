"""free_port: a port for a server whose address has to be known before it runs, or stays the same
when it is started again.
"""

import random
import socket
from contextlib import suppress
from pathlib import Path

# Below the ports that systems give to programs that ask for any, and above those of Ray's workers.
_FIRST, _LAST = 20_000, 32_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port on which no program listens.

    The system gives it to none either: between the end of a server and the start of the next, one
    of the many connections of other tests would get a port of the system's choice.
    """
    last = min(_LAST, int(_RANGE.read_text().split()[0]) - 1) if _RANGE.exists() else _LAST
    for port in random.sample(range(_FIRST, max(last, _FIRST + 1_000)), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of 100 ports is free")
