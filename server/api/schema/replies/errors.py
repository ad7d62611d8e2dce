"""The body of every error answer."""

import msgspec


class ErrorDetail(msgspec.Struct):
    """`type` and `code` are for programs, `param` names the field at fault. Some errors have
    further keys.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(msgspec.Struct):
    """The body of every error answer."""

    error: ErrorDetail
