"""A prompt that one server has computed is not computed again by the next one (--cache-dir)."""

import base64
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from llamabind import read_gguf_header
from tests.support.paths import ROOT
from tests.support.png_file import png
from tests.support.random_clip import N_IMAGE_TOKENS, write_random_clip
from tests.support.server_process import TINY, ServerProcess, until
from tests.support.small_disk import fill, small_disk

pytestmark = pytest.mark.e2e

_SYSTEM = "The quick brown fox jumps over the lazy dog and runs into the green forest. " * 15
_SETTINGS = {"n_ctx": 2048, "threads": 1, "n_parallel": 2}
_FOLDER = "llamabind-prefixes"


@contextmanager
def _server(
    folder: Path, cache: Path, *arguments: str, model: str = TINY
) -> Iterator[ServerProcess]:
    with ServerProcess(folder, "--cache-dir", str(cache), *arguments) as server:
        server.post(f"/api/v2/models/{model}/load", _SETTINGS)
        yield server


def _ask(server: ServerProcess, question: str = "Hi", **fields: object) -> tuple[str, int, int]:
    """The answer, the tokens of the prompt, and how many of them were cached."""
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}]
    body = {"model": TINY, "messages": messages, "max_tokens": 4, "temperature": 0, **fields}
    answer = server.post("/v1/chat/completions", body)
    usage = answer["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return answer["choices"][0]["message"]["content"], usage["prompt_tokens"], cached


def _files(cache: Path) -> list[Path]:
    return sorted((cache / _FOLDER).glob("*.prefix"))


def _figure(server: ServerProcess, name: str) -> float:
    return server.metrics().sum(f"llamabind_cache_disk_{name}", model=TINY)


def test_a_prompt_is_reused_after_sigterm_and_its_files_are_private(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        answer, n_prompt, n_cached = _ask(server)
        assert n_cached == 0
    [file] = _files(cache)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (cache / _FOLDER).stat().st_mode & 0o777 == 0o700
    with _server(tmp_path, cache) as server:
        assert _ask(server) == (answer, n_prompt, n_prompt - 1)
        # Another question to the same system prompt: only the question is computed.
        _, n_other, n_shared = _ask(server, "Who runs into the forest?")
        assert n_other - 20 < n_shared < n_other - 1
        until(lambda: _figure(server, "reads_total") == 1, "the worker reports the read")
        assert _figure(server, "bytes") >= file.stat().st_size
    assert "ERROR" not in server.log.read_text()


def test_a_prompt_is_reused_after_an_unload_and_by_the_request_that_loads_the_model(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        _, n_prompt, _ = _ask(server)
        server.post(f"/api/v2/models/{TINY}/unload")
        assert len(_files(cache)) == 1
        # The load's own defaults have another context; what a cell holds is the same.
        assert _ask(server)[1:] == (n_prompt, n_prompt - 1)


def test_a_killed_server_loses_only_what_was_not_written(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        _, n_prompt, _ = _ask(server)
        until(lambda: _figure(server, "writes_total") == 1, "the idle server writes the prefix")
        [written] = _files(cache)
        # What a process leaves that is killed while it writes.
        part = written.with_name(f".{written.name}.1.part")
        part.write_bytes(written.read_bytes()[:1000])
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    with _server(tmp_path, cache) as server:
        assert _ask(server)[1:] == (n_prompt, n_prompt - 1)
        assert not part.exists()


def test_bad_files_are_ignored_and_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        _, n_prompt, _ = _ask(server)
    [good] = _files(cache)
    raw = good.read_bytes()
    key = good.name.partition("-")[0]
    half = len(raw) // 2
    damages = {
        "changed": raw[:half] + bytes([raw[half] ^ 1]) + raw[half + 1 :],
        "truncated": raw[:half],
        "foreign": b"GGUF" + raw[4:],
        "empty": b"",
    }
    for damage in damages.values():
        good.write_bytes(damage)
        with _server(tmp_path, cache) as server:
            assert _ask(server)[1:] == (n_prompt, 0)
            log = server.log.read_text()
            assert log.count("is not used") == 1
        assert good.read_bytes() != damage, "the server wrote it again"
    good.chmod(0o622)
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(good, elsewhere)
    link = good.with_name(f"{key}-{'0' * 32}.prefix")
    link.symlink_to(elsewhere)
    os.mkfifo(good.with_name(f"{key}-{'1' * 32}.prefix"))
    with _server(tmp_path, cache) as server:
        assert _ask(server)[1:] == (n_prompt, 0)
        assert server.log.read_text().count("is not used") == 3
    assert len(_files(cache)) == 1
    assert elsewhere.read_bytes() == raw, "the target of a link is not touched"


def test_files_of_another_model_or_other_settings_are_kept_but_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        _, n_prompt, _ = _ask(server)
        server.post(f"/api/v2/models/{TINY}/unload")
        other = {**_SETTINGS, "cache_type_k": "q8_0"}
        server.post(f"/api/v2/models/{TINY}/load", other)
        assert _ask(server)[1:] == (n_prompt, 0)
    assert len(_files(cache)) == 2


def test_images_are_recognised_by_their_bytes(tmp_path: Path) -> None:
    def ask(server: ServerProcess, seed: int) -> tuple[str, int, int]:
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        data = base64.b64encode(png(pixels)).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        text = {"type": "text", "text": _SYSTEM}
        messages = [{"role": "user", "content": [text, image]}]
        body = {"model": TINY, "messages": messages, "max_tokens": 4, "temperature": 0}
        answer = server.post("/v1/chat/completions", body)
        usage = answer["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        return answer["choices"][0]["message"]["content"], usage["prompt_tokens"], cached

    width = read_gguf_header(ROOT / "llamabind" / "models" / TINY).embedding_length
    assert width is not None
    projector = tmp_path / "mmproj-random.gguf"
    write_random_clip(projector, width)
    flags = ("--cache-dir", str(tmp_path / "cache"), "--mmproj", str(projector))
    with ServerProcess(tmp_path, *flags) as server:
        answer, n_prompt, _ = ask(server, 1)
    with ServerProcess(tmp_path, *flags) as server:
        assert ask(server, 1) == (answer, n_prompt, n_prompt - 1)
    with ServerProcess(tmp_path, *flags) as server:
        n_cached = ask(server, 2)[2]
        assert 128 < n_cached <= n_prompt - N_IMAGE_TOKENS, "the text before the image"


def test_requests_with_cache_prompt_false_leave_no_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache) as server:
        _ask(server, cache_prompt=False)
    assert _files(cache) == []


def test_the_limit_is_kept_by_removing_the_least_recently_used_files(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with _server(tmp_path, cache, "--cache-disk", "2") as server:
        for number in range(6):
            messages = [{"role": "user", "content": f"{number} {_SYSTEM}"}]
            body = {"model": TINY, "messages": messages, "max_tokens": 1}
            server.post("/v1/chat/completions", body)
    files = _files(cache)
    assert 1 <= len(files) < 6
    assert sum(file.stat().st_size for file in files) <= 2 << 20


def test_a_full_disk_is_logged_once_and_requests_are_answered(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        fill(disk)
        with _server(tmp_path, disk) as server:
            for number in range(3):
                assert _ask(server, f"Question {number}")[1] > 0
            until(
                lambda: "prefixes are not written to files" in server.log.read_text(),
                "the log says so",
            )
        assert server.process.wait(60) == 0
        assert server.log.read_text().count("prefixes are not written to files") == 1
        assert _files(disk) == []
