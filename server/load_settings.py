"""LoadSettings: what a client may choose when it loads a model; the worker applies it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_CONTEXT = 1 << 24

Layers = Annotated[int, Meta(ge=-1, le=65_535, description="layers on the GPU; -1 is all")]
ContextSize = Annotated[int, Meta(ge=0, le=MAX_CONTEXT, description="tokens; 0 is the model's own")]
BatchSize = Annotated[int, Meta(ge=1, le=65_536, description="tokens of a prompt computed at once")]
Threads = Annotated[
    int, Meta(ge=-1, le=1024, description="compute threads; 0 and -1 are automatic")
]
Parallel = Annotated[int, Meta(ge=1, le=256, description="requests that run at once")]
Ttl = Annotated[
    float,
    Meta(
        ge=-1, le=31_536_000, description="seconds of idleness before it is unloaded; -1 is never"
    ),
]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a load. None is the engine's default, which fits the model and the machine.

    The first six are the API reference's, the others llama-server's in the same words. `f16_kv` is
    a short form of both cache types.
    """

    n_gpu_layers: Layers | None = None
    n_ctx: ContextSize | None = None
    n_batch: BatchSize | None = None
    threads: Threads | None = None
    use_mlock: bool | None = None
    f16_kv: bool | None = None
    n_parallel: Parallel | None = None
    n_ubatch: BatchSize | None = None
    threads_batch: Threads | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    flash_attn: Literal["auto", "on", "off"] | None = None
    kv_unified: bool | None = None
    ttl: Ttl | None = None
    pinned: bool | None = None

    def over(self, base: "LoadSettings") -> "LoadSettings":
        """These settings, and those of `base` where these say nothing."""
        mine = {
            name: value for name, value in msgspec.structs.asdict(self).items() if value is not None
        }
        return msgspec.structs.replace(base, **mine)

    @property
    def engine(self) -> "LoadSettings":
        """The same without what does not change the engine: equal ones need no new load."""
        return msgspec.structs.replace(self, ttl=None, pinned=None)
