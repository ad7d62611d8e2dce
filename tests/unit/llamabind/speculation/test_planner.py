"""Speculative decoding in the engine's policy: the same answers, in fewer steps if drafts pay."""

from __future__ import annotations

import pytest

from llamabind.engine.core import EngineCore
from llamabind.engine.shape import EngineShape
from llamabind.request import FinishReason, GenerationRequest, RequestOutput
from llamabind.speculation.ngram_drafter import NgramDrafter
from llamabind.speculation.planner import Drafter, SpeculationPlanner
from tests.support.fake_drafter import FakeDrafter
from tests.support.fake_runner import EOG, N_VOCAB, FakeRunner, FakeVocabulary, next_token


class Machine:
    """A clock that the runner moves: each step costs a base and a time for each token."""

    def __init__(self, base: float = 0.0, per_token: float = 0.0) -> None:
        self.now = 0.0
        self.base = base
        self.per_token = per_token


class TimedRunner(FakeRunner):
    def __init__(self, machine: Machine, *args, **fields) -> None:
        super().__init__(*args, **fields)
        self._machine = machine

    def run(self, plan):
        result = super().run(plan)
        self._machine.now += self._machine.base + self._machine.per_token * plan.n_tokens
        return result


def _make(
    drafter: Drafter,
    machine: Machine | None = None,
    *,
    n_ctx: int = 512,
    n_cells: int | None = None,
    n_batch: int = 64,
    n_max: int = 8,
    n_min: int = 0,
    model=next_token,
) -> tuple[EngineCore, FakeRunner]:
    machine = machine or Machine()
    n_cells = n_cells or n_ctx
    runner = TimedRunner(machine, n_cells, n_batch, model)
    shape = EngineShape(
        n_ctx=n_ctx, n_cells=n_cells, n_batch=n_batch, n_slots=8, n_parallel=4, n_vocab=N_VOCAB
    )
    speculation = SpeculationPlanner(drafter, n_max=n_max, n_min=n_min)
    engine = EngineCore(
        runner, FakeVocabulary(), shape, clock=lambda: machine.now, speculation=speculation
    )
    return engine, runner


def _ask(engine: EngineCore, *requests: GenerationRequest) -> dict[str, list[RequestOutput]]:
    for request in requests:
        engine.prepare(request)
        engine.add(request)
    outputs: dict[str, list[RequestOutput]] = {}
    while engine.has_work:
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
    engine.check_idle()
    return outputs


def _request(name: str = "a", prompt=(1, 2, 3), max_tokens=20, **fields) -> GenerationRequest:
    return GenerationRequest(
        request_id=name, prompt_tokens=tuple(prompt), max_tokens=max_tokens, **fields
    )


def _tokens(outputs: list[RequestOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def _alone(prompt: list[int], n: int, model=next_token) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + n and (len(tokens) == len(prompt) or tokens[-1] != EOG):
        tokens.append(model(tokens))
    return tokens[len(prompt) :]


def letters(tokens: list[int]) -> int:
    """A model that never ends: it repeats the alphabet."""
    return 97 + (tokens[-1] - 96) % 26


def test_accepted_drafts_give_the_same_answer_in_fewer_steps():
    engine, _ = _make(FakeDrafter())
    outputs = _ask(engine, _request())["a"]
    assert _tokens(outputs) == _alone([1, 2, 3], 20)
    assert engine.stats.steps < 10


def test_rejected_drafts_change_no_answer_and_free_their_cells():
    engine, runner = _make(FakeDrafter(is_wrong=lambda n: True))
    outputs = _ask(engine, _request())["a"]
    assert _tokens(outputs) == _alone([1, 2, 3], 20)
    engine.step()
    assert runner.n_cells_used == engine.stats.cells_used


def test_the_counters_count_drafted_and_accepted_tokens():
    engine, _ = _make(FakeDrafter(is_wrong=lambda n: n % 5 == 0), n_max=4)
    outputs = _ask(engine, _request(max_tokens=30))["a"]
    stats, timings = engine.stats.speculation, outputs[-1].timings
    assert 0 < stats.accepted_tokens < stats.draft_tokens
    assert sum(stats.accepted_per_position) == stats.accepted_tokens
    assert list(stats.accepted_per_position) == sorted(stats.accepted_per_position, reverse=True)
    assert stats.drafts <= engine.stats.steps
    assert timings is not None
    assert (timings.draft_n, timings.draft_n_accepted) == (
        stats.draft_tokens,
        stats.accepted_tokens,
    )
    assert len(_tokens(outputs)) == engine.stats.generated_tokens


def test_max_tokens_can_end_an_answer_inside_a_draft():
    engine, _ = _make(FakeDrafter(model=letters), model=letters)
    for n in range(1, 14):
        outputs = _ask(engine, _request(f"r{n}", [97], n))[f"r{n}"]
        assert _tokens(outputs) == _alone([97], n, letters)
        assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_a_stop_string_inside_an_accepted_run_ends_it_there():
    engine, _ = _make(FakeDrafter(model=letters), model=letters)
    outputs = _ask(engine, _request(prompt=[96], max_tokens=None, stop=("mn",)))["a"]
    assert "".join(output.text for output in outputs) == "abcdefghijkl"
    assert _tokens(outputs) == list(b"abcdefghijklmn")
    assert outputs[-1].finish_reason is FinishReason.STOP
    assert outputs[-1].usage.completion_tokens == 14


def test_an_end_token_inside_an_accepted_run_ends_it_there():
    def ends_after_ten(tokens: list[int]) -> int:
        return EOG if len(tokens) == 13 else 50 + len(tokens)

    engine, _ = _make(FakeDrafter(model=ends_after_ten), model=ends_after_ten)
    outputs = _ask(engine, _request(max_tokens=None))["a"]
    assert _tokens(outputs) == [*range(53, 63), EOG]
    assert outputs[-1].finish_reason is FinishReason.STOP


def test_drafts_never_exceed_the_context():
    engine, _ = _make(FakeDrafter(model=letters), n_ctx=24, model=letters)
    outputs = _ask(engine, _request(prompt=[97] * 5, max_tokens=None))["a"]
    assert len(_tokens(outputs)) == 19
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_several_sequences_get_drafts_in_one_batch():
    drafter = FakeDrafter(is_wrong=lambda n: n % 4 == 0)
    engine, _ = _make(drafter)
    prompts = {f"r{i}": [20 + i, 7] for i in range(4)}
    outputs = _ask(engine, *(_request(name, prompt) for name, prompt in prompts.items()))
    for name, prompt in prompts.items():
        assert _tokens(outputs[name]) == _alone(prompt, 20)
    assert any(len(wanted) == 4 for wanted in drafter.wanted)
    assert drafter.known == set(), "the data of a sequence is freed at its end"


def test_a_batch_with_drafts_never_exceeds_n_batch():
    engine, runner = _make(FakeDrafter(model=letters), n_batch=6, model=letters)
    _ask(engine, *(_request(f"r{i}", [100 + i]) for i in range(4)))
    assert max(runner.batch_sizes) <= 6


def test_with_few_free_cells_drafts_are_shortened_and_no_sequence_is_preempted_for_them():
    engine, runner = _make(FakeDrafter(model=letters), n_ctx=48, model=letters)
    computed_alone = 4 * (6 + 5)
    outputs = _ask(engine, *(_request(f"r{i}", [100 + i] * 6, 6) for i in range(4)))
    assert runner.n_computed <= computed_alone + engine.stats.speculation.draft_tokens
    assert all(len(_tokens(outputs[f"r{i}"])) == 6 for i in range(4))


def test_a_refused_batch_is_tried_again_without_drafts():
    engine, runner = _make(FakeDrafter(model=letters), model=letters)
    request = _request(prompt=[97], max_tokens=30)
    engine.prepare(request)
    engine.add(request)
    outputs = [output for _ in range(4) for output in engine.step()]
    assert runner.batch_sizes[-1] > 1
    runner.refuse_next = True
    engine.step()
    outputs += engine.step()
    while engine.has_work:
        outputs += engine.step()
    assert _tokens(outputs) == _alone([97], 30, letters)
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_drafts_that_do_not_pay_stop_and_are_tried_again_from_time_to_time():
    drafter = FakeDrafter(is_wrong=lambda n: n < 150, model=letters)
    engine, runner = _make(drafter, Machine(0.010, 0.008), model=letters)
    _ask(engine, _request(prompt=[97], max_tokens=450))
    sizes = runner.batch_sizes
    assert sizes[30:130].count(1) > 90, "while drafts are wrong, few steps have one"
    assert max(sizes[130:]) > 4, "once drafts are right, they are long"


def test_free_drafts_are_compared_without_computing_them():
    drafter = FakeDrafter(is_wrong=lambda n: n < 100, model=letters, is_free=True)
    engine, runner = _make(drafter, Machine(0.010, 0.008), model=letters)
    _ask(engine, _request(prompt=[97], max_tokens=200))
    assert runner.batch_sizes[30:90].count(1) == 60
    assert max(runner.batch_sizes[90:115]) > 1, "a few right drafts are enough to use them again"


@pytest.mark.parametrize("n_min", [1, 4])
def test_drafts_shorter_than_draft_min_are_not_computed(n_min):
    engine, runner = _make(FakeDrafter(model=letters), n_max=6, n_min=n_min, model=letters)
    _ask(engine, _request(prompt=[97], max_tokens=40))
    assert all(size == 1 or size > n_min for size in runner.batch_sizes)


def test_copied_text_is_drafted_from_the_prompt():
    poem = list(b"the quick brown fox jumps over the lazy dog and runs away")

    def copies(tokens: list[int]) -> int:
        return poem[(len(tokens) - len(poem)) % len(poem)]

    engine, _ = _make(NgramDrafter(3), n_max=48, model=copies)
    outputs = _ask(engine, _request(prompt=poem, max_tokens=len(poem)))["a"]
    assert _tokens(outputs) == poem
    assert engine.stats.steps < len(poem) // 3
