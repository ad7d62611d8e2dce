"""Paths of the server's API as the ingress sees them: which need no key, which it answers."""

import re
from typing import Final

# As in server.http.access; a test compares them.
PUBLIC: Final = frozenset(
    {"/", "/health", "/v1/health", "/live", "/ready", "/docs", "/favicon.ico"}
)
PROBES: Final = frozenset({"/health", "/v1/health", "/ready"})

# The lists of all models, and the keys of their lists.
LISTS: Final = {
    "/v1/models": ("data", "models"),
    "/models": ("data", "models"),
    "/api/v2/models": ("available_models", "loaded_models"),
    "/api/tags": ("models",),
    "/api/ps": ("models",),
}

_MODEL_PATHS: Final = (
    re.compile(r"/api/v2/models/(?P<model>.+?)(?:/estimate)?"),
    re.compile(r"/api/v2/chat/(?P<model>.+?)(?:/stream)?"),
    re.compile(r"/v1/models/(?P<model>.+)"),
)
# Requests that would change one replica of several, or watch one.
_OF_ONE_SERVER: Final = (
    ("POST", re.compile(r"/api/v2/models/.+/(load|unload|estimate)")),
    ("DELETE", re.compile(r"/api/v2/models/.+")),
    ("*", re.compile(r"/api/v2/(downloads(/.*)?|hub/.*|events)")),
    ("*", re.compile(r"/models/(load|unload|sse)")),
    ("POST", re.compile(r"/models|/props|/lora-adapters|/slots/.+|/api/pull")),
    ("DELETE", re.compile(r"/models|/api/delete")),
)


def model_in_path(path: str) -> str | None:
    """The model that a path names; None for paths without one."""
    for pattern in _MODEL_PATHS:
        if found := pattern.fullmatch(path):
            return found["model"]
    return None


def is_of_one_server(method: str, path: str) -> bool:
    """Whether a request is about the state of one server, and so has no meaning in a cluster."""
    return any(
        of in ("*", method) and pattern.fullmatch(path) is not None
        for of, pattern in _OF_ONE_SERVER
    )


def is_public(path: str) -> bool:
    """Whether a path needs no key."""
    return path in PUBLIC or path.startswith("/ui/")
