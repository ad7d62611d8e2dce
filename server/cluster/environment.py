"""set_defaults: the variables with which Ray runs, unless the user has set them."""

import os
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
}


def set_defaults() -> None:
    """Set the variables; Ray reads them when it is imported, and its processes inherit them."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
