"""The routers of cluster.toml are classes that Ray has; `serve deploy` gets an application."""

import json
import subprocess
import sys
from typing import Any

from tests.support.paths import ROOT

_ROUTERS = """
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
_BUILD = """
import json, sys
from ray.serve import Application
from server.cluster.app import build
from server.cluster.config import ClusterConfigError

models = [{"name": "a", "model": "a.gguf", "cpus": 1, "replicas": 2}]
results = [isinstance(build({"models": models, "insecure_no_auth": True}), Application)]
for args in ({"models": models}, {"models": [{"name": "a"}]}, {"file": "/none.toml"}):
    try:
        build(args)
    except ClusterConfigError as error:
        results.append(str(error))
print(json.dumps(results))
"""


def _run(script: str) -> Any:
    """The JSON that `script` prints. In a process of its own: Ray's modules warn when imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_routers_can_be_imported_by_their_dotted_paths_and_have_our_methods() -> None:
    found, unknown = _run(_ROUTERS)
    assert found == {"prefix": True, "session": True, "pow2": True}
    assert unknown == [], "PrefixRouter overrides methods that Ray's class does not have"


def test_serve_deploy_gets_an_application_or_a_sentence() -> None:
    is_built, no_key, no_model, no_file = _run(_BUILD)
    assert is_built
    assert no_key.startswith("args: not listening on an address that Ray's settings choose")
    assert no_model == "args: models[0].model is missing"
    assert no_file == "/none.toml: cannot be read: No such file or directory"
