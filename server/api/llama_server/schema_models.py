"""The documents of llama-server's /models."""

from typing import Annotated

import msgspec
from msgspec import Meta


class ModelBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /models/load and /models/unload."""

    model: Annotated[str, Meta(min_length=1)]


class SuccessDocument(msgspec.Struct, frozen=True):
    """What llama-server says when something was done."""

    success: bool = True
