"""The values that the documents of several answers have."""

from typing import Annotated, Literal

from msgspec import Meta

UtcTime = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        description="UTC, such as 2024-01-15T12:00:00Z",
    ),
]
ByteSize = Annotated[
    str, Meta(pattern=r"^\d+\.\d(MB|GB)$", description="1024-based, such as 4.5GB or 12.4MB")
]
Uptime = Annotated[str, Meta(pattern=r"^\d+d \d+h \d+m$", description="such as 2d 3h 45m")]
Ttl = Annotated[
    float, Meta(ge=-1, description="idle seconds after which the model is unloaded; -1 is never")
]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Status = Literal["unloaded", "queued", "loading", "loaded", "draining", "failed", "broken"]
