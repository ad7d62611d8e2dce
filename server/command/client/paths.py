"""URL paths of the server's API."""

from urllib.parse import quote, urlencode

MODELS = "/api/v2/models"
DOWNLOADS = "/api/v2/downloads"


def model_path(model: str, action: str = "") -> str:
    """The path of a model, or of an action on it. Ids may have slashes and colons."""
    return f"{MODELS}/{quote(model, safe='/:')}{f'/{action}' if action else ''}"


def chat_path(model: str) -> str:
    """The path of a model's streamed chat."""
    return f"/api/v2/chat/{quote(model, safe='/:')}/stream"


def download_path(download: str, **query: str) -> str:
    """The path of a download."""
    return f"{DOWNLOADS}/{quote(download, safe='')}{f'?{urlencode(query)}' if query else ''}"
