"""Requests and answers of llama-server's /models."""

from typing import Annotated

import msgspec
from msgspec import Meta


class ModelBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /models/load and /models/unload."""

    model: Annotated[str, Meta(min_length=1)]


class SuccessDocument(msgspec.Struct, frozen=True):
    """llama-server's answer to an action that succeeded."""

    success: bool = True
