"""CheckpointPlanner: the positions of a prompt at which its state is saved."""

from __future__ import annotations

from llamabind.request import GenerationRequest
from llamabind.scheduling.checkpoint_planner import CheckpointPlanner
from llamabind.scheduling.sequence import Sequence
from tests.support.fake_runner import FakeVocabulary


def _sequence(tokens: list[int]) -> Sequence:
    request = GenerationRequest(request_id="a", prompt_tokens=tuple(tokens))
    return Sequence(request, FakeVocabulary(), n_ctx=4096)


def _positions(tokens: list[int], *others: list[int], branch: int = 0, start: int = 0) -> list[int]:
    """All checkpoints of a prompt that is computed from each to the next."""
    sequence = _sequence(tokens)
    sequence.n_computed = start
    planner = CheckpointPlanner()
    planner.start(sequence, branch)
    waiting = [_sequence(other) for other in others]
    positions = []
    while (position := planner.next_position(sequence, waiting)) is not None:
        positions.append(position)
        planner.reached(sequence, position)
        sequence.n_computed = position
    return positions


def _prompt(n: int) -> list[int]:
    return [1 + i % 200 for i in range(n)]


def test_a_prompt_has_a_checkpoint_just_before_its_end():
    assert _positions(_prompt(100)) == [96]


def test_a_long_prompt_has_a_checkpoint_every_512_tokens():
    assert _positions(_prompt(1300)) == [512, 1024, 1296]


def test_a_checkpoint_is_where_waiting_prompts_branch_off():
    shared = _prompt(300)
    others = ([*shared[:150], 250, 251], [*shared, 250], _prompt(20))
    assert _positions([*shared, *[255] * 100], *others) == [150, 300, 396]


def test_a_waiting_prompt_with_the_same_tokens_branches_off_before_its_last_token():
    prompt = _prompt(200)
    assert _positions(prompt, prompt[:100]) == [99, 196]


def test_a_checkpoint_is_where_an_earlier_prompt_branched_off():
    assert _positions(_prompt(200), branch=120) == [120, 196]


def test_a_regular_checkpoint_shortly_before_a_branch_is_left_out():
    prompt = _prompt(200)
    assert _positions(prompt, [*prompt[:198], 250]) == [198]
    assert _positions(_prompt(600), branch=530) == [530, 596]


def test_checkpoints_keep_a_distance_from_each_other_and_from_a_restored_one():
    assert _positions(_prompt(200), branch=190) == [190]
    assert _positions(_prompt(200), branch=120, start=100) == [196]
    assert _positions(_prompt(30)) == []


def test_a_sequence_that_lost_its_slot_is_not_planned():
    sequence = _sequence(_prompt(100))
    planner = CheckpointPlanner()
    planner.start(sequence, 0)
    planner.reached(sequence, 96)
    planner.forget(sequence)
    planner.start(sequence, 0)
    assert planner.next_position(sequence, []) == 96
