"""EngineThread: submit, cancel, failure, close."""

from __future__ import annotations

import threading

import pytest

from llamabind.engine.core import EngineCore
from llamabind.engine.shape import EngineShape
from llamabind.engine.thread import EngineThread
from llamabind.errors import EngineStoppedError, PromptTooLongError
from llamabind.request import FinishReason, GenerationRequest
from tests.support.fake_runner import N_VOCAB, FakeRunner, FakeVocabulary

SHAPE = EngineShape(n_ctx=64, n_cells=64, n_batch=16, n_slots=8, n_parallel=4, n_vocab=N_VOCAB)


class Collector:
    """Collects outputs; `wait` returns when all of the requests have ended."""

    def __init__(self) -> None:
        self.outputs: dict[str, list] = {}
        self._changed = threading.Condition()

    def __call__(self, outputs) -> None:
        with self._changed:
            for output in outputs:
                self.outputs.setdefault(output.request_id, []).append(output)
            self._changed.notify_all()

    def wait(self, *request_ids: str) -> None:
        def ended() -> bool:
            return all(
                self.outputs.get(i) and self.outputs[i][-1].finish_reason for i in request_ids
            )

        with self._changed:
            assert self._changed.wait_for(ended, timeout=20)

    def wait_for_first(self, request_id: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: request_id in self.outputs, timeout=20)


def _make_request(request_id: str, **fields) -> GenerationRequest:
    return GenerationRequest(request_id=request_id, prompt_tokens=(1, 2, 3), **fields)


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def runner() -> FakeRunner:
    # The model never ends an answer; it ends at the end of the context.
    return FakeRunner(SHAPE.n_cells, SHAPE.n_batch, model=lambda tokens: 7)


@pytest.fixture
def engine(runner) -> EngineCore:
    return EngineCore(runner, FakeVocabulary(), SHAPE)


def test_submitted_requests_run_to_their_end(engine, collector):
    thread = EngineThread(engine, collector)
    thread.submit(_make_request("a", max_tokens=4))
    thread.submit(_make_request("b", max_tokens=2))
    collector.wait("a", "b")
    assert sum(len(output.token_ids) for output in collector.outputs["a"]) == 4
    assert thread.close(timeout=20)
    assert thread.stats.generated_tokens == 6


def test_an_invalid_request_raises_on_the_callers_thread(engine, collector):
    thread = EngineThread(engine, collector)
    with pytest.raises(PromptTooLongError):
        thread.submit(GenerationRequest(request_id="a", prompt_tokens=(1,) * 64))
    assert thread.close(timeout=20)
    assert collector.outputs == {}


def test_cancel_ends_a_running_request(runner, engine, collector):
    entered, go_on = threading.Event(), threading.Event()

    def slow(tokens):
        entered.set()
        assert go_on.wait(20)
        return 7

    runner.model = slow
    thread = EngineThread(engine, collector)
    thread.submit(_make_request("a"))
    assert entered.wait(20)
    thread.cancel("a")
    go_on.set()
    collector.wait("a")
    assert collector.outputs["a"][-1].finish_reason is FinishReason.ABORT
    assert thread.close(timeout=20)


def test_close_ends_running_requests_with_abort(runner, engine, collector):
    entered, go_on = threading.Event(), threading.Event()

    def slow(tokens):
        entered.set()
        assert go_on.wait(20)
        return 7

    runner.model = slow
    thread = EngineThread(engine, collector)
    thread.submit(_make_request("a"))
    assert entered.wait(20)
    closer = threading.Thread(target=thread.close)
    closer.start()
    go_on.set()
    closer.join(20)
    collector.wait("a")
    assert collector.outputs["a"][-1].finish_reason is FinishReason.ABORT
    with pytest.raises(EngineStoppedError):
        thread.submit(_make_request("b"))


def test_a_failing_step_ends_every_request_with_an_error_and_stops_the_thread(
    runner, engine, collector
):
    def broken(tokens):
        raise RuntimeError("decode broke")

    runner.model = broken
    failures: list[BaseException] = []
    thread = EngineThread(engine, collector, failures.append)
    thread.submit(_make_request("a"))
    collector.wait("a")
    assert collector.outputs["a"][-1].finish_reason is FinishReason.ERROR
    assert collector.outputs["a"][-1].error == "RuntimeError: decode broke"
    assert thread.close(timeout=20)
    assert [str(failure) for failure in failures] == ["decode broke"]
    with pytest.raises(EngineStoppedError):
        thread.submit(_make_request("b"))


def test_close_waits_for_a_prepare_on_another_thread_and_ends_its_request(runner, collector):
    """The engine may be freed right after close(), so no prepare() may still be using it."""
    entered, go_on = threading.Event(), threading.Event()
    prepare = runner.prepare

    def slow_prepare(request: GenerationRequest) -> None:
        entered.set()
        assert go_on.wait(20)
        prepare(request)

    runner.prepare = slow_prepare
    thread = EngineThread(EngineCore(runner, FakeVocabulary(), SHAPE), collector)
    submitter = threading.Thread(target=thread.submit, args=(_make_request("late"),))
    submitter.start()
    assert entered.wait(20)
    closer = threading.Thread(target=thread.close)
    closer.start()
    go_on.set()
    closer.join(20)
    submitter.join(20)
    # Aborted or finished, it has exactly one last output.
    ends = [output.finish_reason for output in collector.outputs["late"] if output.finish_reason]
    assert len(ends) == 1
    assert ends[0] in (FinishReason.ABORT, FinishReason.LENGTH)
    assert runner.prepared == set()
    with pytest.raises(EngineStoppedError):
        thread.submit(_make_request("too late"))


def test_call_runs_on_the_engines_thread_between_steps(engine, collector):
    asked = threading.Event()

    def deliver(outputs) -> None:
        collector(outputs)
        assert asked.wait(20)  # or the whole answer may be done before the call

    thread = EngineThread(engine, deliver)
    thread.submit(_make_request("a"))
    collector.wait_for_first("a")
    answer = thread.call(lambda core: (threading.current_thread().name, core.report_slots()))
    asked.set()
    name, reports = answer.result(timeout=20)
    assert name == "engine"
    [running] = [report.running for report in reports if report.running is not None]
    assert running.request.request_id == "a"
    assert running.n_computed == 3
    assert running.n_generated + running.n_remain == SHAPE.n_ctx - 3
    assert thread.close(timeout=20)


def test_an_exception_in_call_goes_to_its_future_and_the_engine_keeps_running(engine, collector):
    thread = EngineThread(engine, collector)

    def fail(_core: EngineCore) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        thread.call(fail).result(timeout=20)
    thread.submit(_make_request("a", max_tokens=1))
    collector.wait("a")
    assert thread.close(timeout=20)
    with pytest.raises(EngineStoppedError):
        thread.call(fail)
