"""Images in prompts: how they are computed, shared, preempted and refused."""

from typing import Any

import numpy as np
import pytest

from llamabind.errors import InvalidParameterError
from llamabind.media.medium import EncodedMedium, MediaVectors, Medium, lay_out, pseudo_tokens
from llamabind.request import GenerationRequest
from llamabind.speculation.ngram_drafter import NgramDrafter
from llamabind.speculation.planner import SpeculationPlanner
from tests.support.engine_driver import expected_answer, make_engine, run, submit, tokens_of

CAT, DOG = b"cat", b"dog"


def image(digest: bytes, n_tokens: int = 6, *, is_causal: bool = True, grid=None) -> EncodedMedium:
    vectors = np.ones((n_tokens, 4), np.float32)
    return EncodedMedium(digest, (MediaVectors(vectors, is_causal, grid),))


def request_of(request_id: str, *parts, **fields) -> GenerationRequest:
    """A request whose prompt has texts (lists of tokens) and images."""
    tokens, media = lay_out(parts)
    return GenerationRequest(
        request_id=request_id, prompt_tokens=tokens, media=media, **{"max_tokens": 5, **fields}
    )


def test_vectors_are_computed_in_place_of_pseudo_tokens() -> None:
    cut = EncodedMedium(CAT, ((1, 2), *image(CAT, 3).pieces, (3,), *image(CAT, 2).pieces))
    tokens, media = lay_out([[7, 8], cut, [9]])
    hashed = pseudo_tokens(CAT, 0, 5)
    assert tokens == (7, 8, 1, 2, *hashed[:3], 3, *hashed[3:], 9)
    assert [(medium.start, medium.end) for medium in media] == [(4, 7), (8, 10)]
    assert all(-(1 << 31) <= token < 0 for token in hashed)
    assert not set(hashed) & set(pseudo_tokens(DOG, 0, 5))


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("n_batch", [4, 8, 64])
def test_an_answer_to_an_image_does_not_depend_on_how_it_is_split(
    is_causal: bool, n_batch: int
) -> None:
    engine, runner = make_engine(n_batch=n_batch)
    request = request_of("a", [7, 8, 9], image(CAT, is_causal=is_causal), [5, 6, 4, 3, 2, 1])
    submit(engine, request)
    outputs = run(engine)["a"]
    answer, reason = expected_answer(list(request.prompt_tokens), 5, 64)
    assert tokens_of(outputs) == answer
    assert outputs[-1].finish_reason is reason
    assert outputs[-1].usage.prompt_tokens == 15
    assert not runner.prepared


def test_images_run_beside_texts_and_each_other() -> None:
    engine, _ = make_engine(n_ctx=256, n_batch=16)
    requests = [
        request_of("text", list(range(1, 30)), max_tokens=20),
        request_of("cat", [1, 2], image(CAT, 12, is_causal=False), [3], max_tokens=20),
        request_of("dog", [1, 2], image(DOG, 12), [3], image(CAT, 4), [4], max_tokens=20),
    ]
    submit(engine, *requests)
    outputs = run(engine)
    for request in requests:
        answer, _ = expected_answer(list(request.prompt_tokens), 20, 256)
        assert tokens_of(outputs[request.request_id]) == answer


def test_the_same_image_is_computed_once_and_another_anew() -> None:
    engine, _ = make_engine()
    cached = {}
    for name, digest in (("first", CAT), ("again", CAT), ("other", DOG)):
        submit(engine, request_of(name, [1, 2], image(digest), [3, 4]))
        cached[name] = run(engine)[name][-1].usage.cached_tokens
    assert cached == {"first": 0, "again": 9, "other": 2}


@pytest.mark.parametrize("is_cuttable", [True, False])
def test_a_preempted_image_is_computed_again(is_cuttable: bool) -> None:
    engine, _ = make_engine(n_ctx=48, n_batch=16, is_cuttable=is_cuttable, cache_ram_bytes=1 << 20)
    requests = [
        request_of(name, [index], image(CAT, 8, is_causal=False), [2], max_tokens=30)
        for index, name in enumerate("abc", 1)
    ]
    submit(engine, *requests)
    outputs = run(engine)
    for request in requests:
        answer, _ = expected_answer(list(request.prompt_tokens), 30, 48)
        assert tokens_of(outputs[request.request_id]) == answer


KINDS = [
    {},
    {"kv_unified": False},
    {"is_cuttable": False},
    {"is_cuttable": False, "is_checkpoint_partial": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_batch", [4, 16])
def test_text_after_an_image_has_the_positions_after_it(kind: dict, n_batch: int) -> None:
    engine, runner = make_engine(n_ctx=256, n_batch=n_batch, **kind)
    dog = image(DOG, 12, grid=(3, 4))
    request = request_of("a", [7, 8], image(CAT, grid=(3, 2)), [5], dog, [6, 4], max_tokens=3)
    submit(engine, request)
    outputs = run(engine)["a"]
    assert tokens_of(outputs) == expected_answer(list(request.prompt_tokens), 3, 256)[0]
    [held] = [cells for cells in runner.kv.values() if cells]
    answered = len(held) - len(request.prompt_tokens)
    texts = range(10, 10 + 2 + answered)
    assert [position for _, position, _ in held] == [0, 1, *[2] * 6, 5, *[6] * 12, *texts]


@pytest.mark.parametrize("kind", KINDS)
def test_images_with_rows_are_shared_preempted_and_evicted(kind: dict) -> None:
    engine, runner = make_engine(n_ctx=96, n_batch=8, cache_ram_bytes=1 << 20, **kind)
    begin = list(range(1, 35))
    requests = [
        request_of(f"{turn}{name}", begin, image(digest, 12, grid=(4, 3)), end, max_tokens=30)
        for turn in range(3)
        for name, digest, end in [
            ("a", CAT, [2, 3]),
            ("b", CAT, [2, 4, 5]),
            ("c", DOG, [2, 3]),
            ("d", CAT, [6]),
        ]
    ]
    submit(engine, *requests[:8])
    outputs = run(engine)
    submit(engine, *requests[8:])
    outputs |= run(engine)
    for request in requests:
        answer, _ = expected_answer(list(request.prompt_tokens), 30, 96)
        assert tokens_of(outputs[request.request_id]) == answer
    n_all = sum(len(request.prompt_tokens) for request in requests)
    assert runner.n_computed < n_all


@pytest.mark.parametrize("is_evicted", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_cancelled_half_way_is_not_reused_in_part(kind: dict, is_evicted: bool) -> None:
    engine, _ = make_engine(n_ctx=128, n_batch=8, cache_ram_bytes=1 << 20, **kind)
    begin = list(range(1, 40))
    cat = image(CAT, 30, grid=(5, 6))
    submit(engine, request_of("gone", begin, cat, [3]))
    while not any(39 < slot.n_tokens < 69 for slot in engine.report_slots()):
        engine.step()
    engine.cancel("gone")
    if is_evicted:
        others = [request_of(f"{index}", [index] * 100, max_tokens=9) for index in range(9)]
        submit(engine, *others)
        run(engine)
    request = request_of("again", begin, cat, [3])
    submit(engine, request)
    outputs = run(engine)["again"]
    assert outputs[-1].usage.cached_tokens <= 39
    assert tokens_of(outputs) == expected_answer(list(request.prompt_tokens), 5, 128)[0]


def test_no_checkpoint_is_inside_an_image_with_rows() -> None:
    fields: dict[str, Any] = {"n_batch": 64, "is_cuttable": False, "cache_ram_bytes": 1 << 20}
    engine, runner = make_engine(n_ctx=2048, **fields)
    submit(engine, request_of("a", [7] * 100, image(CAT, 930, grid=(30, 31)), [8] * 600))
    run(engine)
    ends = [len(read) for _, _, read in runner.states.values()]
    assert 1536 in ends
    assert not any(100 < end < 1030 for end in ends)


def test_after_a_refused_batch_a_sequence_with_an_image_starts_again() -> None:
    engine, runner = make_engine(n_batch=32)
    text = request_of("text", [1, 2, 3], max_tokens=20)
    submit(engine, text)
    engine.step()
    cat = request_of("cat", image(CAT, is_causal=False), [3, 4])
    submit(engine, cat)
    runner.refuse_next = True
    outputs = run(engine)
    assert tokens_of(outputs["cat"]) == expected_answer(list(cat.prompt_tokens), 5, 64)[0]
    assert outputs["text"][-1].error is None


def test_no_draft_is_made_for_a_sequence_with_an_image() -> None:
    speculation = SpeculationPlanner(NgramDrafter(1), n_max=4)
    engine, _ = make_engine(n_ctx=256, speculation=speculation)
    submit(engine, request_of("cat", [1, 1, 1, 1], image(CAT), [1, 1, 1, 1], max_tokens=40))
    run(engine)
    assert engine.stats.speculation.drafts == 0


@pytest.mark.parametrize(
    ("parts", "fields", "message"),
    [
        (([1], image(CAT)), {}, "must end with text"),
        (([1], image(CAT), [2]), {"prompt_logprobs": 1}, "prompt_logprobs: not available"),
    ],
)
def test_prompts_and_options_that_media_do_not_allow_are_refused(
    parts: tuple, fields: dict, message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        request_of("a", *parts, **fields)


def test_media_must_match_their_pseudo_tokens() -> None:
    vectors = np.ones((2, 4), np.float32)
    for tokens, media in [
        ((1, 2, 3), (Medium(0, vectors),)),
        ((-1, -2, -3, 4), (Medium(0, vectors), Medium(1, vectors))),
        ((-1, -2, 3), (Medium(0, vectors.astype(np.float64)),)),
    ]:
        with pytest.raises(InvalidParameterError, match="media"):
            GenerationRequest(request_id="a", prompt_tokens=tokens, media=media)


def test_pseudo_tokens_without_a_medium_are_refused() -> None:
    engine, _ = make_engine()
    for media in ((), (Medium(0, np.ones((1, 4), np.float32)),)):
        request = GenerationRequest(request_id="a", prompt_tokens=(-1, -2, 3), media=media)
        with pytest.raises(InvalidParameterError, match="token ids must be from 0"):
            engine.prepare(request)
