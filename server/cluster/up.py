"""up and restart: run a cluster on a local Ray, or deploy its file to a running one."""

import logging
import re
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from server.cluster.app import APP_NAME, build_app
from server.cluster.config import ClusterConfig, ClusterConfigError, read_cluster_file
from server.cluster.connection import DeployError, check_listening, connect, listening
from server.cluster.front.access import why_not_without_key
from server.listening.addresses import is_loopback

logger = logging.getLogger("ray.serve")

_KEEPALIVE_SECONDS: Final = 75
# The last line of a traceback, such as "server.cluster.call.StartError: model 'm' cannot ...".
_LAST_LINE: Final = re.compile(r"^[\w.]+(?:Error|Exception): (.+)$", re.MULTILINE)


def up(file: Path, *, address: str | None, say: Callable[[str], None]) -> None:
    """Start a local Ray and run the cluster of `file` until SIGTERM or SIGINT; SIGHUP reads the
    file again and replaces the replicas one after the other.

    With the `address` of a running Ray, deploy the file there and return; the cluster stays.
    Raises ClusterConfigError and DeployError.
    """
    config = _checked(file)
    connect(config, address)
    try:
        check_listening(config)
        _start(config)
        _deploy(config)
        names = ", ".join(model.name for model in config.models)
        say(f"llamabind cluster serves http://{config.host}:{config.port} - models: {names}")
        if address is None:
            _wait(file, say)
    finally:
        if address is None:
            serve.shutdown()
        ray.shutdown()


def restart(file: Path, *, address: str) -> None:
    """Deploy `file` to the cluster that runs on the Ray at `address`, with new replicas for all
    models. Raises ClusterConfigError and DeployError.
    """
    config = _checked(file)
    connect(config, address)
    try:
        if listening() is None or APP_NAME not in serve.status().applications:
            raise DeployError(
                f"no cluster runs on the Ray at {address}; `llamabind cluster up {file}` starts it"
            )
        check_listening(config)
        _deploy(config)
    finally:
        ray.shutdown()


def _checked(file: Path) -> ClusterConfig:
    config = read_cluster_file(file)
    if reason := why_not_without_key(config, config.host):
        raise ClusterConfigError(f"{file}: {reason}")
    return config


def _start(config: ClusterConfig) -> None:
    """Start Ray Serve, or use the one that runs."""
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={
                "host": config.host,
                "port": config.port,
                "keep_alive_timeout_s": _KEEPALIVE_SECONDS,
            },
        )
    except TimeoutError as error:
        # Ray waits a minute. The proxies go on starting, and _deploy() waits for the application.
        logger.warning("Ray Serve starts slowly: %s", error)
    except RayError as error:
        raise DeployError(f"Ray Serve cannot start: {_reason(str(error))}") from None


def _deploy(config: ClusterConfig) -> None:
    """Start or replace the replicas; returns when all models are loaded."""
    generation = datetime.now(UTC).isoformat()
    app = build_app(config, is_local=is_loopback(config.host), generation=generation)
    try:
        serve.run(app, name=APP_NAME, route_prefix="/")
    except (RuntimeError, ValueError, RayError, RayServeException) as error:
        text = f"{error}{_messages()}"
        raise DeployError(f"the cluster cannot be deployed: {_reason(text)}") from None


def _messages() -> str:
    """The messages of the deployments that failed."""
    application = serve.status().applications.get(APP_NAME)
    if application is None:
        return ""
    messages = [one.message for one in application.deployments.values() if one.message]
    return "".join(f"\n{message}" for message in messages)


def _reason(text: str) -> str:
    """The sentences of tracebacks in `text`, each once; all of it if it has none."""
    sentences = dict.fromkeys(found.strip() for found in _LAST_LINE.findall(text))
    last = [one for one in sentences if not one.startswith("Traceback")]
    return "; ".join(last) or text


def _wait(file: Path, say: Callable[[str], None]) -> None:
    """Return at SIGTERM or SIGINT; deploy anew at SIGHUP."""
    stopping, changed = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        changed.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda *_: changed.set())
    while True:
        changed.wait()
        changed.clear()
        if stopping.is_set():
            return
        try:
            _deploy(_checked(file))
            say("llamabind cluster: all replicas are replaced")
        except (ClusterConfigError, DeployError) as error:
            say(f"llamabind cluster: not changed: {error}")
