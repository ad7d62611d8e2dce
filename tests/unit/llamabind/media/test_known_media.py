"""Which media the pseudo-tokens of a slot stand for, and slot files that contain them."""

from array import array
from pathlib import Path

import numpy as np
import pytest

from llamabind.context.saved_state import SavedState
from llamabind.engine.slot_file import SlotContent, read_slot_file, write_slot_file
from llamabind.errors import StateError
from llamabind.media import medium as media_module
from llamabind.media.known_media import KnownMedia, SavedMedium, with_media
from llamabind.media.medium import EncodedMedium, MediaVectors, lay_out

CAT, DOG = b"cat", b"dog"


def _encoded(digest: bytes, n: int, grid: tuple[int, int] | None = None) -> EncodedMedium:
    vectors = MediaVectors(np.ones((n, 4), np.float32), grid=grid)
    # A second part of the same medium, with tokens between.
    return EncodedMedium(digest, (vectors, (3,), MediaVectors(np.ones((2, 4), np.float32))))


def _slot() -> tuple[array, KnownMedia]:
    tokens, media = lay_out([[7, 8], _encoded(CAT, 6, (3, 2)), _encoded(DOG, 4), [9]])
    known = KnownMedia()
    known.remember(media, tokens)
    return array("i", tokens), known


def test_media_of_a_slot_are_found_with_their_parts() -> None:
    tokens, known = _slot()
    found = known.find(tokens)
    assert [(one.start, one.n_held, one.digest, one.first) for one in found] == [
        (2, 6, CAT, 0),
        (9, 2, CAT, 6),
        (11, 4, DOG, 0),
        (16, 2, DOG, 4),
    ]
    assert with_media(tokens, found) == tokens


def test_a_medium_that_the_slot_holds_in_part_is_found() -> None:
    tokens, known = _slot()
    [first] = known.find(tokens[:5])
    assert (first.n_held, first.n) == (3, 6)


def test_a_medium_that_is_not_remembered_is_an_error() -> None:
    tokens, _ = _slot()
    with pytest.raises(StateError, match="too long ago"):
        KnownMedia().find(tokens)


def test_another_process_writes_its_own_pseudo_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens, known = _slot()
    state = SavedState(np.arange(9, dtype=np.uint8), is_sequence=True)
    content = SlotContent(bytes(32), tokens, state, known.find(tokens), ("mmproj.gguf", 5))
    write_slot_file(tmp_path / "a.bin", content)
    monkeypatch.setattr(media_module, "_KEY", bytes(32))
    read, _ = read_slot_file(tmp_path / "a.bin", bytes(32), 1 << 20)
    assert read.projector == ("mmproj.gguf", 5)
    # The prompt as this process lays it out.
    prompt, _ = lay_out([[7, 8], _encoded(CAT, 6, (3, 2)), _encoded(DOG, 4), [9]])
    assert tuple(read.tokens) != prompt
    assert tuple(with_media(read.tokens, read.media)) == prompt


@pytest.mark.parametrize(
    "wrong",
    [{"start": -1}, {"start": 16}, {"n_held": 0}, {"n_held": 9}, {"grid": (2, 2)}, {"first": -1}],
)
def test_media_that_do_not_fit_the_tokens_are_refused(wrong: dict) -> None:
    tokens, _ = _slot()
    fields = {"start": 2, "n_held": 6, "n": 6, "digest": CAT, "first": 0, "grid": (3, 2)} | wrong
    with pytest.raises(StateError):
        with_media(tokens, [SavedMedium(**fields)])
