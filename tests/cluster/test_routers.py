"""The routers of cluster.toml are classes that Ray has, with the methods that we override."""

import json
import subprocess
import sys

from tests.support.paths import ROOT

# In a process of its own: Ray's modules warn when they are imported.
_SCRIPT = """
import json
from importlib import import_module
from ray.serve._private.request_router import RequestRouter
from ray.serve.config import RequestRouterConfig
from server.cluster.app import ROUTERS
from server.cluster.prefix_router import PrefixCacheAffinityRouter, PrefixRouter

found = {}
for router, path in ROUTERS.items():
    module, name = path.replace(":", ".").rsplit(".", 1)
    kind = getattr(import_module(module), name)
    config = RequestRouterConfig(request_router_class=path)
    found[router] = issubclass(kind, RequestRouter) and config.get_request_router_class() is kind
ours = {name for name in vars(PrefixRouter) if callable(getattr(PrefixRouter, name))}
print(json.dumps([found, sorted(ours - vars(PrefixCacheAffinityRouter).keys())]))
"""


def test_routers_can_be_imported_by_their_dotted_paths_and_have_our_methods() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found, unknown = json.loads(done.stdout.splitlines()[-1])
    assert found == {"prefix": True, "session": True, "pow2": True}
    assert unknown == [], "PrefixRouter overrides methods that Ray's class does not have"
