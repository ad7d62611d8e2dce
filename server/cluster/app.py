"""build_app: the Ray Serve application of a cluster; `build` makes it for `serve deploy`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from server.cluster.config import (
    ClusterConfig,
    ClusterConfigError,
    ClusterModel,
    check_cluster,
    read_cluster_file,
)
from server.cluster.front.access import Access, why_not_without_key
from server.cluster.ingress import Ingress
from server.cluster.replica import Replica

APP_NAME: Final = "llamabind"
ROUTERS: Final = {
    "prefix": "server.cluster.prefix_router.PrefixRouter",
    "session": "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter",
    "pow2": "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
}
# Requests of one replica beyond its slots and its queue, such as lists of models; the replica's own
# 429, which says how many requests wait, comes before Ray's.
_BEYOND_QUEUE: Final = 32
# Requests that wait in an ingress until a replica can take them: a burst, while they are assigned.
_ROUTER_QUEUE: Final = 1_000
_INGRESS_REQUESTS: Final = 10_000


def build(args: Mapping[str, Any]) -> Application:
    """The application for `serve deploy` and KubeRay: `import_path: server.cluster.app:build`.

    `args` is `{"file": "/path/cluster.toml"}`, or the fields of that file themselves; `generation`
    may be added, a new value of which restarts all replicas one after the other. Raises
    ClusterConfigError.
    """
    given = dict(args)
    generation = str(given.pop("generation", ""))
    if "file" in given:
        config = read_cluster_file(Path(str(given["file"])))
    else:
        config = check_cluster(given, "args", Path.cwd())
    if reason := why_not_without_key(config, None):
        raise ClusterConfigError(f"args: {reason}")
    return build_app(config, is_local=False, generation=generation)


def build_app(config: ClusterConfig, *, is_local: bool, generation: str = "") -> Application:
    """The application of `config`. Raises ClusterConfigError for key files that are not valid."""
    try:
        access = Access.of(config, is_local=is_local)
    except ValueError as error:
        raise ClusterConfigError(str(error)) from None
    replicas = [_replicas(config, model, generation) for model in config.models]
    ingress = serve.deployment(
        name="ingress",
        num_replicas=config.ingress_replicas,
        max_ongoing_requests=_INGRESS_REQUESTS,
        ray_actor_options={"num_cpus": config.ingress_cpus},
        graceful_shutdown_timeout_s=config.drain_seconds,
    )(serve.ingress()(Ingress))
    return ingress.bind(config, access, replicas)


def _replicas(config: ClusterConfig, model: ClusterModel, generation: str) -> Application:
    """The deployment of a model."""
    flags = [
        *("--drain-seconds", f"{config.drain_seconds:g}"),
        *("--max-body-mb", str(config.max_body_mb)),
    ]
    if config.gateway_metrics:
        flags.append("--gateway-metrics")
    router = config.router_of(model)
    # A replica whose slots are all taken gets no request while another one is idle.
    kwargs = {"imbalanced_threshold": model.n_parallel - 1} if router == "prefix" else {}
    options: dict[str, Any] = {
        "name": model.deployment,
        "max_ongoing_requests": model.n_parallel + model.max_queue + _BEYOND_QUEUE,
        "max_queued_requests": _ROUTER_QUEUE,
        "ray_actor_options": {"num_cpus": model.reserved_cpus, "num_gpus": model.gpus},
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "graceful_shutdown_wait_loop_s": 1,
        "graceful_shutdown_timeout_s": config.drain_seconds,
        "request_router_config": RequestRouterConfig(
            request_router_class=ROUTERS[router], request_router_kwargs=kwargs
        ),
    }
    if model.autoscale is not None:
        scale = model.autoscale
        options["autoscaling_config"] = AutoscalingConfig(
            min_replicas=scale.min,
            max_replicas=scale.max,
            target_ongoing_requests=scale.target_ongoing_requests or model.n_parallel,
            upscale_delay_s=scale.upscale_delay,
            downscale_delay_s=scale.downscale_delay,
            # Ray decides by the mean of this time, which would delay a short upscale_delay.
            metrics_interval_s=min(10.0, max(1.0, scale.upscale_delay / 3)),
            look_back_period_s=min(30.0, max(2.0, scale.upscale_delay)),
        )
    else:
        options["num_replicas"] = model.replicas or 1
    return serve.deployment(**options)(Replica).bind(model, flags, generation)
