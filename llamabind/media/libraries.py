"""missing_libraries: which Python libraries for images and audio are not installed."""

from collections.abc import Iterator
from importlib.util import find_spec

from llamabind.errors import MissingLibraryError


def missing_libraries(*, vision: bool, audio: bool) -> Iterator[MissingLibraryError]:
    """The error that each kind of file would end with; imports nothing."""
    if vision and find_spec("PIL") is None:
        yield MissingLibraryError("images", "Pillow")
    if audio and (find_spec("soundfile") is None or find_spec("soxr") is None):
        yield MissingLibraryError("audio", "soundfile and soxr")
