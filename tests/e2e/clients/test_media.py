"""Images sent by each client in its own format reach the model unchanged."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.support.client_server import media_server
from tests.support.png_file import png
from tests.support.random_clip import N_IMAGE_TOKENS
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e
_WORDS = "What is this?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with media_server(tmp_path_factory.mktemp("models")) as process:
        yield process


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "cat.png"
    path.write_bytes(png(pixels))
    return path


def test_all_clients_send_the_same_image(server: ServerProcess, picture: Path) -> None:
    data = base64.b64encode(picture.read_bytes()).decode()
    base_url = f"http://127.0.0.1:{server.port}"
    url = f"data:image/png;base64,{data}"
    with OpenAI(base_url=f"{base_url}/v1", api_key="-", max_retries=0) as client:
        chat = client.chat.completions.create(
            model=TINY,
            max_tokens=4,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": url}},
                        {"type": "text", "text": _WORDS},
                    ],
                }
            ],
        )
        response = client.responses.create(
            model=TINY,
            max_output_tokens=4,
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": url, "detail": "auto"},
                        {"type": "input_text", "text": _WORDS},
                    ],
                }
            ],
        )
    with Anthropic(base_url=base_url, api_key="-", max_retries=0) as client:
        message = client.messages.create(
            model=TINY,
            max_tokens=4,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": data},
                        },
                        {"type": "text", "text": _WORDS},
                    ],
                }
            ],
        )
    with ollama.Client(base_url) as client:
        reply = client.chat(
            TINY,
            [{"role": "user", "content": _WORDS, "images": [str(picture)]}],
            options={"num_predict": 4},
        )
        assert "vision" in (client.show(TINY).capabilities or [])
    assert chat.usage is not None
    assert response.usage is not None
    n_prompt = chat.usage.prompt_tokens
    assert n_prompt > N_IMAGE_TOKENS
    assert response.usage.input_tokens == n_prompt
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == n_prompt
    assert reply.prompt_eval_count == n_prompt
