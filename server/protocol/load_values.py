"""The values that the settings of a load may have: their ranges, as the OpenAPI description shows
them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from llamabind.errors import InvalidParameterError

MAX_CONTEXT = 1 << 24
MAX_DRAFT = 64
_MAX_TEMPLATE = 1 << 18

Layers = Annotated[int, Meta(ge=-1, le=65_535, description="number of layers on GPUs; -1 is all")]
ContextSize = Annotated[
    int, Meta(ge=0, le=MAX_CONTEXT, description="size in tokens; 0 is the training context")
]
BatchSize = Annotated[int, Meta(ge=1, le=65_536, description="maximum number of tokens at once")]
Threads = Annotated[
    int, Meta(ge=-1, le=1024, description="number of compute threads; 0 and -1 are automatic")
]
Parallel = Annotated[int, Meta(ge=1, le=256, description="maximum number of running requests")]
Ttl = Annotated[
    float,
    Meta(
        ge=-1,
        le=31_536_000,
        description="idle seconds after which the model is unloaded; -1 is never",
    ),
]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]
LoadMode = Literal["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"]
Gpu = Annotated[int, Meta(ge=0, le=15, description="index of a GPU, from 0")]
Share = Annotated[float, Meta(ge=0, le=1e6, description="proportion of the model on one GPU")]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
YarnFactor = Annotated[float, Meta(ge=-1, le=1e6, description="-1 is the model's own")]
FilePath = Annotated[
    str,
    Meta(
        min_length=1, max_length=1024, description="path of a file, relative to a models directory"
    ),
]
AdapterScale = Annotated[float, Meta(ge=-1e4, le=1e4, description="scale of the adapter")]
DraftTokens = Annotated[int, Meta(ge=0, le=MAX_DRAFT, description="minimum number of draft tokens")]
Template = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=_MAX_TEMPLATE,
        description='Jinja source, or the name of a built-in template, such as "chatml"',
    ),
]
TensorRule = Annotated[
    str,
    Meta(min_length=3, max_length=512, description="PATTERN=BUFFER, such as ffn_.*_exps=CPU"),
]
Device = Annotated[str, Meta(min_length=1, max_length=64, description="a device, such as CUDA0")]
LayerCount = Annotated[int, Meta(ge=0, le=1024, description="the first layers of the model")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=127)]
ImageTokens = Annotated[int, Meta(ge=1, le=65_536, description="tokens of one image")]
CacheRam = Annotated[int, Meta(ge=-1, le=1 << 24, description="MiB; -1 is no limit, 0 saves none")]


class LoraChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA adapter: a file inside the models directories by `path` or `id`, and its scale."""

    path: FilePath | None = None
    id: FilePath | None = None
    scale: AdapterScale | None = 1.0

    def __post_init__(self) -> None:
        if (self.path is None) == (self.id is None):
            raise InvalidParameterError("lora", "every adapter needs either a path or an id")

    @property
    def file(self) -> str:
        """The path or id of the adapter."""
        return self.path or self.id or ""

    @property
    def factor(self) -> float:
        """The scale, 1.0 by default."""
        return 1.0 if self.scale is None else self.scale
