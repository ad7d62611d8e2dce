"""FrameSender: a result that cannot be sent is replaced by a refusal."""

import socket

import pytest

from server.protocol import framing
from server.protocol.framing import FrameReader
from server.protocol.messages import Answered, FromWorker, RefusalKind, Refused
from server.protocol.tasks import Text
from server.worker.session.sender import FrameSender


def _sent(*messages: Answered) -> list[FromWorker]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = FrameSender(ours)
        for message in messages:
            sender.send(message)
        sender.close()
        ours.shutdown(socket.SHUT_WR)
        reader: FrameReader[FromWorker] = FrameReader(FromWorker)
        return [
            message
            for data in iter(lambda: theirs.recv(4096), b"")
            for message in reader.feed(data)
        ]


def test_a_result_that_is_too_large_is_a_refusal_and_the_next_one_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME_BYTES", 1000)
    small = Answered("b", Text("here"))
    first, second = _sent(Answered("a", Text("x" * 1001)), small)
    assert isinstance(first, Refused)
    assert (first.request_id, first.kind) == ("a", RefusalKind.INVALID)
    assert "over the limit of 1000" in first.message
    assert second == small
