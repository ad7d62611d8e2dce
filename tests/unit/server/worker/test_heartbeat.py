"""Heartbeat: reports continue if the system has no figures of the process."""

import psutil
import pytest

from server.worker.session import heartbeat


def test_without_proc_the_resident_memory_is_reported_as_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_process() -> psutil.Process:
        raise psutil.NoSuchProcess(1)

    assert heartbeat._resident_bytes() > 0
    monkeypatch.setattr(psutil, "Process", no_process)
    assert heartbeat._resident_bytes() == 0
