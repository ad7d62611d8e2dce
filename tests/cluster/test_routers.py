"""The routers of cluster.toml are classes that Ray has, with the methods that we override."""

from importlib import import_module

import pytest
from ray.serve._private.request_router import RequestRouter
from ray.serve.config import RequestRouterConfig

from server.cluster.app import ROUTERS
from server.cluster.prefix_router import PrefixCacheAffinityRouter, PrefixRouter

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("router", sorted(ROUTERS))
def test_a_router_can_be_imported_by_its_dotted_path(router: str) -> None:
    module, name = ROUTERS[router].replace(":", ".").rsplit(".", 1)
    assert issubclass(getattr(import_module(module), name), RequestRouter)
    config = RequestRouterConfig(request_router_class=ROUTERS[router])
    assert config.get_request_router_class() is getattr(import_module(module), name)


@pytest.mark.parametrize(
    "method", ["initialize_state", "_prefix_match_best_replicas", "on_request_routed"]
)
def test_the_prefix_router_overrides_methods_that_exist(method: str) -> None:
    assert method in vars(PrefixRouter)
    assert method in vars(PrefixCacheAffinityRouter)
