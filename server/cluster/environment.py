"""set_defaults: the variables with which Ray runs, unless the user has set them."""

import os
from pathlib import Path
from typing import Final

_DEFAULTS: Final = {
    # Ray would report its use to its makers.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Replicas would run with nice 15.
    "RAY_worker_niceness": "0",
    # As many idle processes as there are cores would import Ray.
    "RAY_prestart_worker_first_driver": "0",
    # On a busy machine a proxy may take longer than Ray's 5 and 10 s, after which it is ended.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    # A proxy that has ended is replaced after three checks: at Ray's 10 s, half a minute later.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
}
# Where Ray looks for the token of a cluster.
_TOKEN_VARIABLES: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def set_defaults() -> None:
    """Set the variables; Ray reads them when it is imported, and its processes inherit them."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Ray uses the user's token by itself, but not for an address that is given.
    if any(map(os.environ.get, _TOKEN_VARIABLES)) or _has_token_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _has_token_file() -> bool:
    try:
        return (Path.home() / ".ray" / "auth_token").is_file()
    except (RuntimeError, OSError):  # a user without a home
        return False
