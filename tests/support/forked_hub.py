"""Processes that talk to a hub as forks: two for each download of a test."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

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
    # Unlike a pipe it needs no protocol for a StreamWriter, and its end is the end of the input.
    ours, theirs = socket.socketpair()
    # A test's end may cancel this at each await. Without its input a process ends by itself.
    with ExitStack() as undo:
        undo.callback(ours.close)
        with ExitStack() as given:
            given.callback(theirs.close)
            descriptors, readers = [theirs.fileno()], []
            for _ in ("stdout", "stderr"):
                read_fd, write_fd = os.pipe()
                given.callback(os.close, write_fd)
                descriptors.append(write_fd)
                reader, transport = await pipe_reader(read_fd)
                undo.callback(transport.close)
                readers.append(reader)
            fork = await Fork.start("hub", descriptors, environment)
        _, fork.stdin = await asyncio.open_connection(sock=ours)
        undo.pop_all()
    fork.stdout, fork.stderr = readers
    return fork
