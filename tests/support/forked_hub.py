"""Processes that talk to a hub as forks: two for each download of a test."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence

import psutil
import pytest

from server.hub.process import HubProcess
from tests.support.forks import Fork, pipe_reader, start_fork_server


def use_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes of the hub in place of starting `python -m server.hub`."""

    async def start(command: Sequence[str], environment: Mapping[str, str]) -> HubProcess:
        return HubProcess(await _fork(environment))  # type: ignore[arg-type] # a stand-in

    monkeypatch.setattr(HubProcess, "start", start)


def forked_children() -> list[psutil.Process]:
    """The running forks."""
    found = psutil.Process(start_fork_server("hub").pid).children()
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]


async def _fork(environment: Mapping[str, str]) -> Fork:
    pipes = [os.pipe() for _ in range(2)]
    readers = [await pipe_reader(read_fd) for read_fd, _ in pipes]
    # Unlike a pipe it needs no protocol for a StreamWriter, and its end is the end of the input.
    ours, theirs = socket.socketpair()
    given = [theirs.fileno(), *(write_fd for _, write_fd in pipes)]
    try:
        fork = await Fork.start("hub", given, environment)
    except BaseException:
        ours.close()
        for _, transport in readers:
            transport.close()
        raise
    finally:
        theirs.close()
        for _, write_fd in pipes:
            os.close(write_fd)
    (fork.stdout, _), (fork.stderr, _) = readers
    _, fork.stdin = await asyncio.open_connection(sock=ours)
    return fork
