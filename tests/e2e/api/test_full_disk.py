"""A slot that does not fit on its file system is a 507 with both sizes; other failures are 500."""

import re
import resource
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_CHAT = {"messages": [{"role": "user", "content": "Hello"}], "n_predict": 4}
_SAVE = f"/slots/0?action=save&model={TINY}"


def test_a_slot_file_that_cannot_be_written_says_why_and_leaves_no_part(tmp_path: Path) -> None:
    folder = tmp_path / "slots"
    folder.mkdir()
    with ServerProcess(tmp_path, "--slot-save-path", str(folder)) as server:
        server.post(f"/api/v2/chat/{TINY}", _CHAT)
        (worker,) = server.workers()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, hard))
        status, document = server.request("POST", _SAVE, {"filename": "one"})
        assert (status, document["error"]["code"]) == (507, "disk_full")
        assert re.search(r"it needs [1-9][\d.]* [kM]B, ", document["error"]["message"])
        assert list(folder.iterdir()) == []

        resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
        folder.rename(tmp_path / "moved")
        status, document = server.request("POST", _SAVE, {"filename": "one"})
        assert (status, document["error"]["code"]) == (500, "file_not_written")
        assert "No such file or directory" in document["error"]["message"]

        (tmp_path / "moved").rename(folder)
        assert server.post(_SAVE, {"filename": "one"})["n_saved"] > 0
        assert server.post(f"/api/v2/chat/{TINY}", _CHAT)["choices"]
