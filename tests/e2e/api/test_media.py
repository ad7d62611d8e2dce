"""Images and audio over HTTP, with the bundled model and projectors of random weights."""

import base64
import io
import struct
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from llamabind import read_gguf_header
from tests.support.client_server import media_server
from tests.support.paths import ROOT
from tests.support.png_file import png
from tests.support.random_clip import N_IMAGE_TOKENS
from tests.support.random_whisper import N_SOUND_TOKENS, write_random_whisper
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e
_BUNDLED = ROOT / "llamabind" / "models" / TINY
CHAT = "/v1/chat/completions"
_WARNINGS = "X-Llamabind-Warnings"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with media_server(tmp_path_factory.mktemp("models")) as process:
        yield process


def picture(seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    return base64.b64encode(png(pixels)).decode()


def image(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture(seed)}"}}


def question(*parts: Any, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "What is this?"}, *parts]
    messages = [{"role": "user", "content": content}]
    return {"model": TINY, "messages": messages, "temperature": 0, "max_tokens": 8, **more}


def test_an_images_tokens_are_counted_and_cached_for_the_next_request(server):
    text = server.post(CHAT, question())
    first = server.post(CHAT, question(image(1)))
    again = server.post(CHAT, question(image(1)))
    other = server.post(CHAT, question(image(2)))
    n_prompt = first["usage"]["prompt_tokens"]
    assert n_prompt == text["usage"]["prompt_tokens"] + N_IMAGE_TOKENS
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == n_prompt - 1
    cached = other["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached < n_prompt - N_IMAGE_TOKENS
    assert again["choices"] == first["choices"]


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_a_completion_reads_images_at_their_markers(server, path):
    marker = server.get(f"/props?model={TINY}")["media_marker"]

    def complete(*seeds: int) -> dict[str, Any]:
        text = "What is this: " + marker * len(seeds) + "\n"
        prompt = {"prompt_string": text, "multimodal_data": [picture(seed) for seed in seeds]}
        more = {"n_predict": 4, "temperature": 0, "n_probs": 3, "logprobs": 3}
        return server.post(path, {"model": TINY, "prompt": prompt, **more})

    def counted(answer: dict[str, Any]) -> int:
        return answer.get("tokens_evaluated") or answer["usage"]["prompt_tokens"]

    def scores(answer: dict[str, Any]) -> Any:
        return answer.get("completion_probabilities") or answer["choices"][0]["logprobs"]

    none, one, two = complete(), complete(1), complete(1, 2)
    assert counted(one) == counted(none) + N_IMAGE_TOKENS
    assert counted(two) == counted(one) + N_IMAGE_TOKENS
    assert scores(complete(1)) == scores(one) != scores(complete(3))


def test_the_answer_depends_on_the_image(server):
    logprobs = [
        server.post(CHAT, question(image(seed), logprobs=True, top_logprobs=5, max_tokens=1))[
            "choices"
        ][0]["logprobs"]["content"][0]["top_logprobs"]
        for seed in (3, 4, 3)
    ]
    assert logprobs[0] == logprobs[2]
    assert logprobs[0] != logprobs[1]


def test_requests_with_images_and_with_text_are_streamed_at_the_same_time(server):
    with server.open(CHAT, question(image(5), image(6), stream=True)) as response:
        answer = server.post(CHAT, question())
        assert answer["usage"]["completion_tokens"] > 0
        assert b"data: [DONE]" in response.read()


def test_images_larger_than_the_context_are_refused(server):
    # The largest number of images in a request, and words for the rest.
    n_words = server.get(f"/api/v2/models/{TINY}")["engine"]["n_ctx"] - 100 * N_IMAGE_TOKENS
    words = {"type": "text", "text": "word " * n_words}
    status, document = server.request("POST", CHAT, question(*[image(7)] * 100, words))
    assert status == 400
    assert document["error"]["code"] == "context_length_exceeded"


def test_a_damaged_image_is_a_400_that_names_its_part(server):
    data = base64.b64decode(picture(8))
    url = f"data:image/png;base64,{base64.b64encode(data[:60] + bytes(900)).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    status, document = server.request("POST", CHAT, question(part))
    assert status == 400
    assert document["error"]["param"] == "messages[0].content[1].image_url"
    assert server.post(CHAT, question())["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(("form", "more"), [("WEBP", {"lossless": True}), ("AVIF", {})])
def test_webp_and_avif_are_read_as_any_image(server, form, more):
    file = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGB").save(file, form, **more)
    url = f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
    text = server.post(CHAT, question())["usage"]["prompt_tokens"]
    seen = server.post(CHAT, question({"type": "image_url", "image_url": {"url": url}}))
    assert seen["usage"]["prompt_tokens"] == text + N_IMAGE_TOKENS


def test_an_image_bomb_is_a_400_and_the_worker_goes_on(server):
    rows = zlib.compress(bytes(1 << 28), 9)
    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", size), (b"IDAT", rows), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    workers = server.workers()
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    status, document = server.request("POST", CHAT, question(part))
    assert status == 400
    assert "limit of 50000000 pixels" in document["error"]["message"]
    assert server.workers() == workers


def test_apply_template_shows_a_marker_for_an_image(server):
    messages = question(image(9))["messages"]
    prompt = server.post("/apply-template", {"model": TINY, "messages": messages})["prompt"]
    assert "What is this?<__media__>" in prompt


def test_all_dialects_pass_the_same_image_to_the_model(server):
    data, words = picture(10), "What is this?"
    url = f"data:image/png;base64,{data}"
    source = {"type": "base64", "media_type": "image/png", "data": data}
    chat = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": words}]
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": words}]
    items = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": words}]
    common = {"model": TINY, "temperature": 0, "stream": False}

    def user(content: Any, **more: Any) -> list[Any]:
        return [{"role": "user", "content": content, **more}]

    options = {"temperature": 0, "num_predict": 8}
    ollama = {"model": TINY, "stream": False, "options": options}
    counts = {
        "openai": server.post(CHAT, {**common, "max_tokens": 8, "messages": user(chat)})["usage"][
            "prompt_tokens"
        ],
        "v2": server.post(f"/api/v2/chat/{TINY}", {"n_predict": 8, "messages": user(chat)})[
            "usage"
        ]["prompt_tokens"],
        "anthropic": server.post(
            "/v1/messages", {**common, "max_tokens": 8, "messages": user(blocks)}
        )["usage"],
        "counted": server.post("/v1/messages/count_tokens", {**common, "messages": user(blocks)})[
            "input_tokens"
        ],
        "responses": server.post(
            "/v1/responses", {**common, "max_output_tokens": 8, "input": user(items)}
        )["usage"]["input_tokens"],
        "ollama chat": server.post("/api/chat", {**ollama, "messages": user(words, images=[data])})[
            "prompt_eval_count"
        ],
        "ollama generate": server.post(
            "/api/generate", {**ollama, "prompt": words, "images": [data]}
        )["prompt_eval_count"],
    }
    usage = counts.pop("anthropic")
    counts["anthropic"] = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    assert set(counts.values()) == {counts["openai"]}, counts
    assert counts["openai"] > N_IMAGE_TOKENS


def test_model_lists_report_that_the_model_takes_images(server):
    assert server.post(CHAT, question(image(1)))
    [model] = [model for model in server.get("/v1/models")["data"] if model["id"] == TINY]
    assert model["architecture"]["input_modalities"] == ["text", "image"]
    assert {"multimodal", "vision"} <= set(model["capabilities"])
    assert "vision" in server.post("/api/show", {"model": TINY})["capabilities"]


def test_audio_is_accepted_if_the_projector_takes_it(tmp_path: Path):
    width = read_gguf_header(_BUNDLED).embedding_length
    assert width is not None
    projector = write_random_whisper(tmp_path / "mmproj-ears.gguf", width)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    data = base64.b64encode(file.getvalue()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    with ServerProcess(tmp_path, "--mmproj", str(projector)) as server:
        usage = server.post(CHAT, question(part))["usage"]
        assert usage["prompt_tokens"] > N_SOUND_TOKENS
        opus = io.BytesIO()
        soundfile.write(opus, np.zeros(48_000), 48_000, format="OGG", subtype="OPUS")
        data = base64.b64encode(opus.getvalue()).decode()
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "opus"}}
        heard = server.post(CHAT, question(part))["usage"]
        assert heard["prompt_tokens"] == usage["prompt_tokens"]
        assert usage["completion_tokens"] > 0
        assert "audio" in server.post("/api/show", {"model": TINY})["capabilities"]
        status, document = server.request("POST", CHAT, question(image(1)))
        assert status == 400
        assert document["error"]["param"] == "messages[0].content[1].image_url"
        assert "does not accept images" in document["error"]["message"]


@pytest.fixture(scope="module")
def text_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("text")) as server:
        yield server


def test_without_a_projector_an_image_is_refused_and_its_part_named(text_server):
    status, document = text_server.request("POST", CHAT, question(image(1)))
    assert status == 400
    assert document["error"]["param"] == "messages[0].content[1].image_url"
    assert "without a projector (mmproj)" in document["error"]["message"]


_CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
_SOURCE = {"type": "base64", "media_type": "image/png", "data": picture(1)}
_ASKED = {"role": "user", "content": "Look"}
# Path, messages that end with a tool's image, and the name of the image in the warning.
_TOOL_IMAGES: dict[str, tuple[dict[str, Any], str]] = {
    CHAT: (
        {
            "messages": [
                _ASKED,
                {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "c", "content": [image(1)]},
            ],
            "max_tokens": 8,
        },
        "messages[2].content[0].image_url",
    ),
    "/v1/messages": (
        {
            "messages": [
                _ASKED,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "c",
                            "content": [{"type": "image", "source": _SOURCE}],
                        }
                    ],
                },
            ],
            "max_tokens": 8,
        },
        "messages[2].content[0].content[0].source.data",
    ),
    "/v1/responses": (
        {
            "input": [
                _ASKED,
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_image", "image_url": image(1)["image_url"]["url"]}],
                },
            ],
            "max_output_tokens": 16,
        },
        "input[2].output[0].image_url",
    ),
}


@pytest.mark.parametrize("path", _TOOL_IMAGES)
def test_without_a_projector_a_tools_image_is_left_out_with_a_warning(text_server, path):
    body, name = _TOOL_IMAGES[path]
    warnings = text_server.post_headers(path, {"model": TINY, **body})[_WARNINGS]
    assert f"{name} is left out: the model was loaded without a projector" in warnings
