"""The wall clock may jump, so it is read for timestamps only; durations use the monotonic clock."""

import re

from tests.support.paths import ROOT

WALL_CLOCK = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\.now\(|\butc_now\(\)")
TIMESTAMPS = {
    "server/api/ollama/documents.py",
    "server/api/ollama/models.py",
    "server/api/ollama/vectors.py",
    "server/api/responses/documents.py",
    "server/api/shared/chunks.py",
    "server/api/v2/models.py",
    "server/cluster/up.py",
    "server/command/terminal/formats.py",
    "server/formats.py",
    "server/hub/download.py",
    "server/models/entry.py",
    "server/models/events.py",
    "server/monitoring/system_metrics.py",
    "server/status.py",
}


def test_only_timestamps_read_the_wall_clock() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("server", "llamabind")
        for path in (ROOT / folder).rglob("*.py")
        if WALL_CLOCK.search(path.read_text(encoding="utf-8"))
    }
    assert found == TIMESTAMPS
