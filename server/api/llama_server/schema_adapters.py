"""Requests and answers of llama-server's /lora-adapters."""

from typing import Annotated

import msgspec
from msgspec import Meta

from server.protocol.load_values import AdapterScale


class AdapterChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One element of the body of POST /lora-adapters; `id` is the one in the answer of GET."""

    id: Annotated[int, Meta(ge=0, le=1024)]
    scale: AdapterScale


class AdapterDocument(msgspec.Struct, frozen=True):
    """A LoRA adapter of a model; `path` is the name of its file."""

    id: int
    path: str
    scale: float
    task_name: str
    prompt_prefix: str
