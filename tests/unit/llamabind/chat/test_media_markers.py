"""Images pass through a chat template as markers and keep their positions."""

from typing import Any

import numpy as np
import pytest

from llamabind.chat.media_markers import insert_markers, split_at_markers
from llamabind.errors import InvalidParameterError
from llamabind.media.medium import EncodedMedium, MediaVectors

CAT, DOG = (
    EncodedMedium(digest, (MediaVectors(np.zeros((2, 4), np.float32)),))
    for digest in (b"cat", b"dog")
)


def media(medium: EncodedMedium) -> dict:
    return {"type": "media", "medium": medium, "param": f"the {medium.digest.decode()}"}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def test_messages_without_media_are_left_as_they_are() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [text("a")]},
    ]
    marked, found = insert_markers(messages)
    assert list(marked) == messages
    assert not found
    assert split_at_markers("a prompt", found) == ["a prompt"]


def test_texts_are_joined_as_llama_cpp_joins_them() -> None:
    content = [text("a"), text("b"), media(CAT), text("c"), text("d"), media(DOG), media(CAT)]
    [message], found = insert_markers([{"role": "user", "content": content}])
    parts = split_at_markers(f"<user>{message['content']}</user>", found)
    assert parts == ["<user>a\nb", CAT, "c\nd", DOG, "", CAT, "</user>"]
    assert len(set(found)) == 3
    assert message["role"] == "user"


def test_a_prompt_that_begins_with_an_image_has_an_empty_text_before_it() -> None:
    [message], found = insert_markers([{"role": "user", "content": [media(CAT), text("?")]}])
    assert split_at_markers(message["content"], found) == ["", CAT, "?"]


def test_an_image_that_the_template_leaves_out_is_named() -> None:
    _, found = insert_markers([{"role": "user", "content": [media(CAT)]}])
    with pytest.raises(
        InvalidParameterError, match="the cat: the chat template does not render this"
    ):
        split_at_markers("a prompt without it", found)
