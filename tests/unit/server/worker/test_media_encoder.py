"""MediaEncoder: encodes each file once, and names the part of one that it cannot encode."""

from typing import Any

import numpy as np
import pytest

from llamabind.errors import InvalidParameterError, PromptTooLongError
from llamabind.media.medium import EncodedMedium, MediaVectors
from server.worker.engines import media_encoder
from server.worker.engines.media_encoder import MediaEncoder


class FakeProjector:
    """A vector for each byte of a file; those that begin with "both" are not causal."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def encode_file(self, data: bytes, field: str) -> EncodedMedium:
        self.encoded.append(data)
        vectors = MediaVectors(np.ones((len(data), 4), np.float32), not data.startswith(b"both"))
        return EncodedMedium(data, ((1,), vectors))


def make(projector: FakeProjector | None = None, n_ctx: int = 64, n_ubatch: int = 8) -> Any:
    return MediaEncoder(projector, n_ctx=n_ctx, n_ubatch=n_ubatch)  # type: ignore[arg-type]


def messages(*files: bytes) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "?"}]
    parts += [
        {"type": "media", "data": data, "param": f"file {index}"}
        for index, data in enumerate(files)
    ]
    return [{"role": "system", "content": "a"}, {"role": "user", "content": parts}]


def test_files_are_replaced_by_media_at_their_positions() -> None:
    system, user = make(FakeProjector()).encode(messages(b"cat", b"dog")).messages
    assert system == {"role": "system", "content": "a"}
    text, cat, dog = user["content"]
    assert text == {"type": "text", "text": "?"}
    assert (cat["medium"].digest, cat["param"]) == (b"cat", "file 0")
    assert (dog["medium"].digest, dog["medium"].n_tokens) == (b"dog", 4)


def test_files_of_an_earlier_conversation_are_not_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media_encoder, "_CACHE_BYTES", 100)
    projector = FakeProjector()
    encoder = make(projector)
    for files in ((b"cat",), (b"cat", b"dog"), (b"bear",), (b"dog",), (b"cat",)):
        encoder.encode(messages(*files))
    # 48 bytes each, 64 for the bear, which evicts both others.
    assert projector.encoded == [b"cat", b"dog", b"bear", b"dog", b"cat"]
    encoder.encode(messages(b"dog"))
    assert projector.encoded[5:] == []
    encoder.encode(messages(b"a giant of an image, in fact"))
    encoder.encode(messages(b"cat"))
    assert len(projector.encoded) == 6


def test_a_model_without_a_projector_names_the_part() -> None:
    with pytest.raises(InvalidParameterError, match="without a projector") as caught:
        make().encode(messages(b"cat"))
    assert caught.value.field == "file 0"
    assert make().encode(messages()[:1]).messages == messages()[:1]


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (make(), "the model was loaded without a projector (mmproj) and reads text only"),
        (make(FakeProjector()), "needs 9 tokens in one batch, over n_ubatch 8; "),
    ],
)
def test_a_text_takes_the_place_of_a_tools_file_that_the_model_cannot_read(
    encoder: MediaEncoder, reason: str
) -> None:
    _, asked = messages(b"both ways")
    encoded = encoder.encode([{**asked, "role": "tool", "tool_call_id": "c"}])
    (result,) = encoded.messages
    question, left_out = result["content"]
    assert question["text"] == "?"
    assert left_out["type"] == "text"
    assert left_out["text"].startswith(f"[a file is left out: {reason}")
    assert encoded.warnings[0].startswith(f"file 0 is left out: {reason}")


def test_media_over_the_context_are_refused_before_all_are_encoded() -> None:
    projector = FakeProjector()
    turns = messages(b"x" * 30) + messages(b"y" * 40) + messages(b"z" * 30)
    with pytest.raises(PromptTooLongError) as caught:
        make(projector).encode(turns)
    assert caught.value.n_prompt_tokens >= 64
    assert len(projector.encoded) == 2


def test_a_non_causal_medium_over_n_ubatch_is_refused() -> None:
    encoder = make(FakeProjector())
    encoder.encode(messages(b"both way"))
    with pytest.raises(InvalidParameterError, match="9 tokens in one batch, over n_ubatch 8"):
        encoder.encode(messages(b"both ways"))
