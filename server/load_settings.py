"""LoadSettings: what a client may choose when it loads a model; the worker applies it."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_CONTEXT = 1 << 24

Layers = Annotated[int, Meta(ge=-1, le=65_535, description="layers on the GPU; -1 is all")]
ContextSize = Annotated[int, Meta(ge=0, le=MAX_CONTEXT, description="tokens; 0 is the model's own")]
BatchSize = Annotated[int, Meta(ge=1, le=65_536, description="tokens of a prompt computed at once")]
Threads = Annotated[
    int, Meta(ge=-1, le=1024, description="compute threads; 0 and -1 are automatic")
]


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a load. None is the engine's default, which fits the model and the machine."""

    n_gpu_layers: Layers | None = None
    n_ctx: ContextSize | None = None
    n_batch: BatchSize | None = None
    threads: Threads | None = None
    use_mlock: bool | None = None
    f16_kv: bool | None = None
