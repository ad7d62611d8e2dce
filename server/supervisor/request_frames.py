"""request_frame: a request as a frame for its worker, with numbers that fit into the frame."""

import re
from typing import Final

from msgspec.structs import replace

from server.errors import InvalidRequestError
from server.protocol.framing import UnframeableError, WideNumberError, encode_frame
from server.protocol.messages import Ask, Submit
from server.protocol.tasks import Render
from server.protocol.wide_numbers import with_narrow_numbers

_MESSAGE_NAMES: Final = re.compile(r"^(task\.)?(job\.)?(prompt\.)?")


def request_frame(message: Submit | Ask) -> tuple[bytes, tuple[str, ...]]:
    """The frame of a message, and a warning for each number that is rounded to fit into it.

    Raises InvalidRequestError naming the client's field that cannot be encoded.
    """
    try:
        try:
            return encode_frame(message), ()
        except WideNumberError:
            narrow, warnings = _narrowed(message)
            return encode_frame(narrow), warnings
    except UnframeableError as error:
        # Name the client's field: remove the names of the message's own structs from the path.
        path = _MESSAGE_NAMES.sub("", error.path or "")
        where = f"field '{path}'" if path else "the request"
        raise InvalidRequestError(f"{where}: {error.problem}", param=path or None) from None


def _narrowed(message: Submit | Ask) -> tuple[Submit | Ask, tuple[str, ...]]:
    match message:
        case Submit(job=job):
            narrow = with_narrow_numbers(job)
            return replace(message, job=narrow.job), narrow.warnings
        case Ask(task=Render(job=job) as task):
            narrow = with_narrow_numbers(job)
            return replace(message, task=replace(task, job=narrow.job)), narrow.warnings
        case _:
            return message, ()
