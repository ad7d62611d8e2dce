"""A loaded model whose process ends, forks, or closes it during a request."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.errors import HandleClosedError, LlamaError
from llamabind.llm import LLM
from llamabind.native.model import Model
from llamabind.request import FinishReason
from llamabind.sampling.params import SamplingParams
from llamabind.sampling.sampler import Sampler

pytestmark = pytest.mark.native

CONFIG = EngineConfig(n_ctx=512, n_parallel=2, n_threads=1)

LOAD = """
import os, sys
from llamabind import LLM, EngineConfig, SamplingParams
from llamabind.errors import EngineStoppedError

llm = LLM(sys.argv[1], config=EngineConfig(n_ctx=512, n_threads=2, n_threads_batch=2))
"""


def _run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", LOAD + code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_may_end_in_the_middle_of_an_answer(random_llama_path):
    code = """
stream = llm.stream("a", SamplingParams(ignore_eos=True), max_tokens=400)
next(stream)
"""
    result = _run(code, random_llama_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_gets_an_error_and_can_close(random_llama_path):
    code = """
llm.generate("a", max_tokens=1)
child = os.fork()
if child == 0:
    try:
        llm.generate("a", max_tokens=1)
    except EngineStoppedError as error:
        print(error, flush=True)
    llm.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
llm.generate("a", max_tokens=1)
llm.close()
sys.exit(status)
"""
    result = _run(code, random_llama_path)
    assert result.returncode == 0, result.stderr
    assert "forked process" in result.stdout


def test_close_waits_for_a_first_embed_and_refuses_a_later_one(random_llama_path, monkeypatch):
    llm = LLM(random_llama_path, config=CONFIG)
    begun, may_go_on = threading.Event(), threading.Event()
    make = EmbeddingEngineMaker(begun, may_go_on)
    monkeypatch.setattr("llamabind.llm.EmbeddingEngine", make)
    embedding = threading.Thread(target=lambda: llm.embeddings)
    embedding.start()
    assert begun.wait(20)
    closing = threading.Thread(target=llm.close)
    closing.start()
    assert not llm.model.is_closed
    may_go_on.set()
    embedding.join(20)
    closing.join(20)
    assert make.was_open
    assert make.is_closed
    with pytest.raises(HandleClosedError, match="the LLM is closed"):
        llm.embed("a")


def test_any_number_of_threads_may_close_while_others_embed(random_llama_path):
    llm = LLM(random_llama_path, config=CONFIG)
    llm.embed("a")
    ends = []

    def embed_until_closed() -> None:
        try:
            while True:
                llm.embed("a b c")
        except LlamaError as error:
            ends.append(error)

    users = [threading.Thread(target=embed_until_closed) for _ in range(3)]
    closers = [threading.Thread(target=llm.close) for _ in range(3)]
    for thread in (*users, *closers):
        thread.start()
    for thread in (*users, *closers):
        thread.join(20)
    assert len(ends) == 3
    assert llm.model.is_closed


class EmbeddingEngineMaker:
    """Stands for the class and for its object; takes until it is let go on."""

    def __init__(self, begun: threading.Event, may_go_on: threading.Event) -> None:
        self._begun = begun
        self._may_go_on = may_go_on
        self.was_open = False
        self.is_closed = False

    def __call__(self, model: Model, config: object) -> "EmbeddingEngineMaker":
        self._begun.set()
        assert self._may_go_on.wait(20)
        self.was_open = not model.is_closed
        return self

    def close(self) -> None:
        self.is_closed = True


def test_a_logits_processor_cannot_wait_for_its_own_engine(random_llama_path):
    def ask(tokens, logits):
        llm.generate([1], max_tokens=1)

    def close(tokens, logits):
        llm.close()

    with LLM(random_llama_path, config=CONFIG) as llm:
        for wait in (ask, close):
            [answer] = llm.generate([1], max_tokens=2, logits_processors=[wait]).answers
            assert answer.finish_reason is FinishReason.ERROR
            assert "cannot wait for the engine" in str(answer.error)


def test_a_logits_processor_that_exits_ends_only_its_request(random_llama_path):
    def leave(tokens, logits):
        sys.exit(3)

    with LLM(random_llama_path, config=CONFIG) as llm:
        [answer] = llm.generate([1], max_tokens=2, logits_processors=[leave]).answers
        assert "SystemExit: 3" in str(answer.error)
        greedy = SamplingParams(temperature=0, ignore_eos=True)
        assert len(llm.generate([1], greedy, max_tokens=2).token_ids) == 2


def test_a_sampler_of_another_model_is_refused(context, random_llama_path):
    refused = pytest.raises(LlamaError, match="it belongs to another model")
    with Model(random_llama_path) as other, Sampler(other) as sampler, refused:
        sampler.sample(context)
