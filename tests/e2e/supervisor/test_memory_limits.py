"""A limit of the address space that is too small is reported as such."""

import resource
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_MB = 1 << 20
# From too little for the worker's interpreter up to what the bundled model's load needs here.
_STEPS = range(100, 2100, 40)


def test_a_load_below_any_limit_of_address_space_works_or_blames_memory(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        pid, hard = server.process.pid, resource.getrlimit(resource.RLIMIT_AS)[1]
        for megabytes in _STEPS:
            # Workers inherit it; the server's own memory stays as it is.
            resource.prlimit(pid, resource.RLIMIT_AS, (megabytes * _MB, hard))
            status, document = server.request("POST", f"/api/v2/models/{TINY}/load", {})
            if status == 200:
                break
            error = document["error"]
            assert (status, error["reason"]) == (507, "out_of_memory"), (megabytes, error)
            assert error["param"] is None
        else:
            raise AssertionError("no step was enough for the load")
        assert megabytes > _STEPS.start
