"""`llamabind cluster`: several replicas behind one address, by Ray Serve."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from server.command.client.errors import CommandError, UsageError

DESCRIPTION: Final = (
    "Run several replicas of models behind one address, on this machine or on a Ray cluster. The "
    "file cluster.toml names the models; docs/scaling.md explains its fields."
)
EXAMPLES: Final = """
examples:
  llamabind cluster check cluster.toml     check the file
  llamabind cluster up cluster.toml        run it on this machine, until Ctrl-C
  llamabind cluster restart cluster.toml   replace all replicas, one after the other, while they
                                           serve; also reads the file again
  llamabind cluster up cluster.toml --address auto
                                           deploy it to the Ray cluster that this machine belongs
                                           to, where it stays; `serve shutdown` ends it
"""
_INSTALL: Final = "pip install 'llamabind[cluster]'"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `cluster`."""
    parser.add_argument("action", metavar="ACTION", choices=("check", "up", "restart"),
                        help="check, up or restart")  # fmt: skip
    parser.add_argument("file", metavar="FILE", type=Path, help="the cluster's file, cluster.toml")
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="address of a running Ray, or auto for the one of this machine; `up` starts a local "
        "one by default",
    )


def run(options: argparse.Namespace) -> int:
    """Check the file, and run it."""
    from server.cluster.config import ClusterConfigError, read_cluster_file
    from server.cluster.front.access import why_not_without_key

    try:
        config = read_cluster_file(options.file)
    except ClusterConfigError as error:
        raise UsageError(str(error)) from None
    if reason := why_not_without_key(config, config.host):
        raise UsageError(f"{options.file}: {reason}")
    if options.action == "check":
        for model in config.models:
            n = model.max_replicas
            print(f"{model.name}: up to {n} replica{'s' if n > 1 else ''} of {model.model}")
        return 0
    if find_spec("ray") is None:
        raise CommandError(
            f"`llamabind cluster {options.action}` needs Ray; install it: {_INSTALL}"
        )
    return _run_on_ray(options)


def _run_on_ray(options: argparse.Namespace) -> int:
    from server.cluster.config import ClusterConfigError
    from server.cluster.environment import set_defaults

    set_defaults()
    from server.cluster.connection import DeployError
    from server.cluster.up import restart, up

    try:
        if options.action == "restart":
            restart(options.file, address=options.address or "auto")
        else:
            up(options.file, address=options.address, say=_say)
    except ClusterConfigError as error:
        raise UsageError(str(error)) from None
    except DeployError as error:
        raise CommandError(str(error)) from None
    return 0


def _say(text: str) -> None:
    print(text, flush=True)
