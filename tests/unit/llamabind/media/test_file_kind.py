"""file_kind: images and audio are known by their first bytes."""

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.media.file_kind import file_kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"GIF89a", "image"),
        (b"BM", "image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"\0\0\0\x20ftypavif", "image"),
        (b"\0\0\0\x20ftypavis", "image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
        (b"fLaC", "audio"),
        (b"OggS", "audio"),
        (b"ID3\4", "audio"),
        (b"\xff\xfb\x90\xc4", "audio"),
        (b"\xff\xf3\x14\xc4", "audio"),
    ],
)
def test_known_formats(data: bytes, kind: str) -> None:
    assert file_kind(data) == kind


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"RIFF\0\0\0\0AVI ", b"\0\0\0\x20ftypisom", b"\xff", b"%PDF-1.7"]
)
def test_other_files_are_refused_with_the_field_and_the_known_formats(data: bytes) -> None:
    with pytest.raises(InvalidParameterError, match=r"expected a PNG, .* WebP or AVIF") as caught:
        file_kind(data, "messages[2]")
    assert caught.value.field == "messages[2]"
