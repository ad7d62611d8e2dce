"""Settings of all tests."""

import os
import tempfile
from pathlib import Path

import hypothesis

from server.hub.cache import VARIABLES

# No test may list or change the models that were downloaded to this machine.
for _name, _ in VARIABLES:
    os.environ.pop(_name, None)
os.environ["HF_HUB_CACHE"] = str(Path(tempfile.gettempdir()) / "llamabind-tests-no-hub-cache")
os.environ.pop("HF_TOKEN", None)

# A busy machine is no failure: no test has a limit of time for one example.
hypothesis.settings.register_profile("llamabind", deadline=None)
hypothesis.settings.load_profile("llamabind")
