"""AsyncLLM: the engine's thread and the event loops never block each other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from importlib import resources

import pytest

from llamabind.aio import AsyncLLM
from llamabind.embedding.config import EmbeddingConfig
from llamabind.engine.config import EngineConfig
from llamabind.errors import InvalidParameterError, PromptTooLongError
from llamabind.llm import LLM
from llamabind.request import FinishReason
from llamabind.sampling.params import SamplingParams

pytestmark = pytest.mark.native

GREEDY = SamplingParams(temperature=0)
ENDLESS = SamplingParams(temperature=0, ignore_eos=True)
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def sync_llm() -> Iterator[LLM]:
    bundled = resources.files("llamabind") / "models" / "tiny-chat.gguf"
    config = EngineConfig(n_ctx=1024, n_parallel=4, n_threads=1)
    embedding = EmbeddingConfig(n_threads=1)
    with resources.as_file(bundled) as path, LLM(path, config=config, embedding=embedding) as llm:
        yield llm


@pytest.fixture
def llm(sync_llm: LLM) -> AsyncLLM:
    return AsyncLLM(sync_llm)


async def _wait_until_idle(llm: AsyncLLM) -> None:
    await llm.generate([1, 2, 3], GREEDY, max_tokens=1)
    assert llm.llm.stats.running == 0


async def test_answers_equal_those_of_llm(llm, sync_llm):
    prompts = [[5 + i, 6] for i in range(12)]
    results = await llm.generate(prompts, GREEDY, max_tokens=3)
    expected = sync_llm.generate(prompts, GREEDY, max_tokens=3)
    assert [result.token_ids for result in results] == [result.token_ids for result in expected]
    assert (await llm.generate("The sky", GREEDY, max_tokens=2)).usage.completion_tokens == 2
    assert (await llm.chat(FRANCE, GREEDY)).text == PARIS
    assert [result.text for result in await llm.chat([FRANCE, FRANCE], GREEDY)] == [PARIS, PARIS]


async def test_many_tasks_share_one_engine(llm):
    answers = await asyncio.gather(*(llm.chat(FRANCE, GREEDY) for _ in range(8)))
    assert {answer.text for answer in answers} == {PARIS}


async def test_a_stream_adds_up_to_the_answer(llm):
    pieces = [piece async for piece in llm.stream(FRANCE, GREEDY)]
    assert "".join(piece.text for piece in pieces) == PARIS
    assert pieces[-1].finish_reason is FinishReason.STOP
    assert len(pieces) > 3


async def test_a_step_wakes_an_event_loop_once_for_all_its_requests(llm, monkeypatch):
    loop = asyncio.get_running_loop()
    inbox = llm.inbox()
    wake_ups = []
    call_soon_threadsafe = loop.call_soon_threadsafe

    def count(callback, *arguments, **options):
        if callback == inbox._deliver:
            wake_ups.append(len(arguments[0]))
        return call_soon_threadsafe(callback, *arguments, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    before = llm.llm.stats.steps
    await llm.generate([[5 + i, 6] for i in range(4)], ENDLESS, max_tokens=20)
    assert len(wake_ups) <= llm.llm.stats.steps - before + 1
    assert sum(wake_ups) == 80
    assert max(wake_ups) > 1


async def test_cancelling_a_task_cancels_its_requests(llm):
    task = asyncio.create_task(llm.generate([[5, 6], [7, 8]], ENDLESS))
    async for _ in llm.stream([9, 10], ENDLESS, max_tokens=3):
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _wait_until_idle(llm)


async def test_a_task_cancelled_while_its_request_starts_leaves_no_request(llm):
    for _ in range(5):
        task = asyncio.create_task(llm.generate([5, 6], ENDLESS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.get_running_loop().shutdown_default_executor()
    llm.llm.generate([1, 2, 3], GREEDY, max_tokens=1)
    assert llm.llm.stats.running == 0


async def test_breaking_out_of_a_stream_cancels_its_request(llm):
    n_tokens = 0
    async for piece in llm.stream([5, 6, 7], ENDLESS):
        n_tokens += len(piece.token_ids)
        break
    assert n_tokens > 0
    gc.collect()
    await _wait_until_idle(llm)


async def test_a_closed_stream_ends(llm):
    async with llm.stream([5, 6, 7], ENDLESS) as stream:
        await anext(stream)
    assert [piece async for piece in stream] == []
    await stream.aclose()
    await _wait_until_idle(llm)


def test_an_event_loop_closed_during_a_request_does_not_affect_others(llm, sync_llm):
    async def start_a_stream() -> object:
        stream = llm.stream([5, 6, 7], ENDLESS)
        await anext(stream)
        return stream

    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(start_a_stream())
    loop.close()
    # At its next step the engine finds the loop closed and drops its outputs.
    assert sync_llm.chat(FRANCE, GREEDY).text == PARIS
    sync_llm.generate([1, 2, 3], GREEDY, max_tokens=1)
    assert sync_llm.stats.running == 0
    del stream


def test_several_loops_may_use_one_model(llm):
    texts = [asyncio.run(_ask(llm)) for _ in range(3)]
    assert texts == [PARIS] * 3
    gc.collect()
    assert len(llm._inboxes) == 0


async def _ask(llm: AsyncLLM) -> str:
    return (await llm.chat(FRANCE, GREEDY)).text


async def test_errors_are_raised_where_they_are_awaited(llm):
    with pytest.raises(PromptTooLongError):
        await llm.generate([7] * 2000)
    with pytest.raises(InvalidParameterError, match="at least one message"):
        await llm.chat([])
    stream = llm.stream([7] * 2000)
    with pytest.raises(PromptTooLongError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    with pytest.raises(InvalidParameterError, match="a stream has one answer"):
        await anext(llm.stream("Once", GREEDY, n=2))


async def test_vectors_equal_those_of_llm(llm, sync_llm):
    vectors = await llm.embed(["a cat", "a dog"])
    assert vectors == pytest.approx(sync_llm.embed(["a cat", "a dog"]), abs=2e-3)
    with pytest.raises(InvalidParameterError, match='needs "rank"'):
        await llm.rerank("a", ["b"])


async def test_a_model_is_loaded_and_closed_without_blocking(sync_llm):
    config = EngineConfig(n_ctx=256, n_parallel=1, n_threads=1)
    async with await AsyncLLM.load(sync_llm.model.path, config=config) as llm:
        assert (await llm.generate([1, 2], GREEDY, max_tokens=1)).usage.completion_tokens == 1
    assert llm.llm.model.is_closed
