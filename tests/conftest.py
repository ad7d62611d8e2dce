"""Settings of all tests."""

import atexit
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

from server.hub.cache import VARIABLES
from tests.support.paths import ROOT

# No test may list or change the models that were downloaded to this machine.
for _name, _ in VARIABLES:
    os.environ.pop(_name, None)
os.environ["HF_HUB_CACHE"] = str(Path(tempfile.gettempdir()) / "llamabind-tests-no-hub-cache")
os.environ.pop("HF_TOKEN", None)
# Nor write to the user's cache, nor use estimates of other code. Processes of one run share a file.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _estimates = tempfile.TemporaryDirectory(prefix="llamabind-tests-")
    atexit.register(_estimates.cleanup)
    os.environ["LLAMABIND_ESTIMATES"] = str(Path(_estimates.name, "estimates"))
# Nor ask a real hub.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"

# Tests start some thousand Python processes, each of which would compile the code again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A busy machine is no failure: no test has a limit of time for one example.
hypothesis.settings.register_profile("llamabind", deadline=None)
hypothesis.settings.load_profile("llamabind")

# The files that take longest start first: only short ones should be left when cores become idle.
_LONGEST = (
    "tests/e2e/supervisor/test_process_life.py",
    "tests/integration/server/hub/test_faults.py",
    "tests/e2e/models/test_hostile_models.py",
    "tests/e2e/api/test_fuzz.py",
    "tests/e2e/requests/test_stuck_prompts.py",
    "tests/e2e/models/test_contention.py",
    "tests/e2e/requests/test_hostile_conversations.py",
    "tests/e2e/requests/test_hostile_grammars.py",
    "tests/e2e/models/test_loading.py",
    "tests/native/engine/test_architectures.py",
    "tests/native/engine/test_weight_types.py",
    "tests/native/engine/test_soak.py",
    "tests/native/context/test_attention.py",
    "tests/native/chat/test_template_tools.py",
    "tests/native/worker/test_load.py",
    "tests/browser/test_speed.py",
    "tests/browser/test_failures.py",
    "tests/browser/test_get_tab.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the order of the tests of a file stays."""
    ranks = {ROOT / name: rank for rank, name in enumerate(_LONGEST)}
    missing = [path for path in ranks if not path.exists()]
    assert not missing, f"files in _LONGEST that do not exist: {missing}"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
