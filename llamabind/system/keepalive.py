"""set_keepalive: makes the system notice that the other end of a connection has vanished."""

import socket
from typing import Final

# The connection ends after 15 + 4 * 5 s without an answer.
_TIMES: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
# The same for data that the other end does not confirm, in ms.
_UNCONFIRMED_MS: Final = 35_000


def set_keepalive(connection: socket.socket) -> None:
    """End the connection if the other end does not answer for 35 s; connections that a listening
    socket accepts take its options.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*_TIMES, ("TCP_USER_TIMEOUT", _UNCONFIRMED_MS)):
        # Systems other than Linux lack some of them.
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
