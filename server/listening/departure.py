"""Whether a client has gone, or has only closed its end for writing and waits for its answer.

Both look the same to a receiver: TCP's FIN arrives. Tools that send one request and close their end
for writing, such as `nc -N`, then wait for the answer; a client that has gone must free its slot.
On a Unix socket the kernel knows which it is. Over TCP only sent bytes tell: the kernel of a client
that has gone answers them with a reset. So bytes are sent that a client skips: before an answer the
interim answer 100, in an output stream an empty line. HTTP/1.0 has no interim answers: before the
answer its client counts as gone, as a proxy that speaks it closes both ends when its client goes.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    import asyncio

INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_EMPTY_LINE: Final = b"1\r\n\n\r\n"  # a chunk
_ASK_SECONDS: Final = 10.0
_ASKED_AT: Final = web.RequestKey("client_asked_at", float)

# Linux reports that the other end has closed, even if there are unread bytes before its end.
_CLOSED: Final[int] = getattr(select, "POLLRDHUP", 0)

# Their answers come so soon that they are computed for every client that may still read them.
_QUICK_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_FIRST_WITH_INTERIM: Final = (1, 1)
_VERSIONS: Final = {b"HTTP/1.0": (1, 0), b"HTTP/1.1": (1, 1)}
_PEEKED_BYTES: Final = 1 << 14


def may_have_more_to_read(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a connection whose client has closed its end may still carry answers.

    False where the system cannot tell whether the client has gone, and with TLS, which asyncio
    always closes in both directions.
    """
    return (
        bool(_CLOSED) and transport is not None and transport.get_extra_info("sslcontext") is None
    )


def has_gone(request: web.BaseRequest) -> bool:
    """Whether the client of a request has closed its connection, without reading from it.

    A client that has closed its end for writing only is asked every 10 seconds; its reset takes a
    round trip, so call again. Event loop only.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    client = transport.get_extra_info("socket")
    if client is None or not _has_closed_its_end(client.fileno()):
        return False
    if not may_have_more_to_read(transport):
        return True
    is_asked = client.family != socket.AF_UNIX and not _is_quick(request.method)
    if is_asked and not _ask(request, transport):
        return True
    return _has_closed_both_ends(client.fileno())


def _ask(request: web.BaseRequest, transport: asyncio.WriteTransport) -> bool:
    """Send bytes that the client skips, if that is due; False if it would skip none."""
    now = time.monotonic()
    if now - request.get(_ASKED_AT, -_ASK_SECONDS) < _ASK_SECONDS:
        return True
    request[_ASKED_AT] = now
    if request.writer.output_size == 0:
        if tuple(request.version) < _FIRST_WITH_INTERIM:
            return False
        transport.write(INTERIM)
    elif getattr(request.writer, "chunked", False):
        # Between two events of an output stream, or two lines.
        transport.write(_EMPTY_LINE)
    return True


def is_abandoned(connection: socket.socket, *, is_tls: bool) -> bool:
    """Whether an accepted connection needs no answer: its client has gone, and has sent no request,
    or one whose handler is cancelled when the client goes.

    A request that is opened and closed at once costs a millisecond if this is found out later.
    """
    if not _has_closed_its_end(connection.fileno()):
        return False
    if is_tls:
        return True
    try:
        method, version = _request_line(connection.recv(_PEEKED_BYTES, socket.MSG_PEEK))
        if _is_quick(method):
            return False
        if connection.family != socket.AF_UNIX:
            if version < _FIRST_WITH_INTERIM:
                return True
            connection.send(INTERIM)
    except OSError:
        return True
    return not method or _has_closed_both_ends(connection.fileno())


def _is_quick(method: str) -> bool:
    """Whether a request holds no slot while it is answered, so that its answer is sent on trust."""
    return method in _QUICK_METHODS


def _request_line(data: bytes) -> tuple[str, tuple[int, int]]:
    """The method and the version of HTTP; a version below 1.0 for anything else."""
    words = data.partition(b"\r\n")[0].split(b" ")
    return words[0].decode("latin-1"), _VERSIONS.get(words[-1], (0, 9))


def _has_closed_its_end(descriptor: int) -> bool:
    """Whether the other end of a socket sends nothing more; False where the system cannot tell."""
    return bool(_CLOSED) and _has_state(descriptor, _CLOSED)


def _has_closed_both_ends(descriptor: int) -> bool:
    """Whether a reset has arrived, or the other program has closed its Unix socket."""
    return _has_state(descriptor, select.POLLHUP | select.POLLERR)


def _has_state(descriptor: int, states: int) -> bool:
    if descriptor < 0:
        return True  # closed by this process
    poll = select.poll()
    poll.register(descriptor, states)
    return any(found & states for _, found in poll.poll(0))
