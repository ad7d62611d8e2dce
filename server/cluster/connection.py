"""connect: a local Ray, or a running one; and which address the Ray Serve of it listens on."""

import logging
import os
from typing import Any, Final

import ray
from ray._private.services import find_gcs_addresses
from ray.exceptions import RayError
from ray.serve.context import _get_global_client

from server.cluster.config import ClusterConfig

logger = logging.getLogger("ray.serve")

AUTO: Final = "auto"
# Request bodies and chunks of answers are small; Ray's default is a third of the memory.
_OBJECT_STORE_BYTES: Final = 256 << 20
# Serve's controller and proxies, which reserve none themselves.
_SPARE_CPUS: Final = 1
_TOKEN_HINT: Final = (
    "; if it is there, it may want a token: copy ~/.ray/auth_token of its head, or set "
    "RAY_AUTH_TOKEN"
)


class DeployError(Exception):
    """Ray could not start, or the models could not be loaded; the message says why."""


def connect(config: ClusterConfig, address: str | None) -> None:
    """Start a local Ray with the cores that `config` reserves, or connect to the one at `address`.

    Raises DeployError.
    """
    settings: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    if address is None:
        settings |= {
            "address": "local",
            "num_cpus": _cores(config),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        settings["address"] = _one(address)
    try:
        ray.init(**settings)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        if address is None:
            raise DeployError(f"cannot start Ray: {error}") from None
        hint = _TOKEN_HINT if isinstance(error, ConnectionError) else ""
        raise DeployError(f"no Ray at {address}: {error}{hint}") from None


def listening() -> tuple[str, int] | None:
    """Host and port of the connected Ray's Serve; None if Serve does not run."""
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    return client.http_config.host, client.http_config.port


def check_listening(config: ClusterConfig) -> None:
    """Raise DeployError if Serve runs and listens on another address than the file has.

    Ray never changes the address of a Serve that runs. An address that other machines reach would
    also make a cluster without keys public.
    """
    found = listening()
    if found not in (None, (config.host, config.port)):
        host, port = found
        raise DeployError(
            f"Ray Serve listens on {host}:{port} there, the file has {config.host}:{config.port}; "
            "change host and port of the file, or end Serve first with `serve shutdown`"
        )


def cpus_needed(config: ClusterConfig) -> int:
    """The cores that all replicas together reserve, at their largest number."""
    models = sum(model.reserved_cpus * model.max_replicas for model in config.models)
    return int(models + config.ingress_cpus * config.ingress_replicas + 0.999)


def _cores(config: ClusterConfig) -> int:
    needed = cpus_needed(config)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if needed > cores:
        logger.warning(
            "the replicas of cluster.toml reserve %g cores at most, this machine has %d",
            needed,
            cores,
        )
    return max(cores, needed) + _SPARE_CPUS


def _one(address: str) -> str:
    """The address; for `auto`, of which Ray would take any, raises DeployError if there are two."""
    if address == AUTO and not os.environ.get("RAY_ADDRESS"):
        found = sorted(find_gcs_addresses())
        if len(found) > 1:
            raise DeployError(
                f"{len(found)} Rays run on this machine ({', '.join(found)}); name one with "
                "--address"
            )
    return address
