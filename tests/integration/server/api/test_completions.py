"""OpenAI's text completions over a scripted engine."""

from typing import Any

import pytest

from server.api.openai.completion_documents import CompletionChunks, completion_document
from server.api.openai.completion_schema import CompletionBody
from server.api.shared.chunks import AnswerTag
from server.protocol.outputs import LogprobEntry, SequenceOutput, WireUsage, pack_logprobs
from server.streams.answer import Answer, Choice
from server.streams.token_stream import TokenUsage
from tests.support.server_app import Client, events, post


async def test_a_completion_has_openais_form(client: Client) -> None:
    document = await post(client, "/v1/completions", prompt="echo: a b")
    assert document["id"].startswith("cmpl-")
    assert (document["object"], document["model"]) == ("text_completion", "m.gguf")
    choice = {"index": 0, "text": "a b", "finish_reason": "stop", "logprobs": None}
    assert document["choices"] == [choice]
    assert document["usage"]["total_tokens"] == 7
    assert document["timings"]["predicted_n"] == 2


async def test_several_prompts_are_answered_in_their_order(client: Client) -> None:
    prompts = ["echo: a b", "echo: c"]
    document = await post(client, "/v1/completions", prompt=prompts, n=2)
    assert [choice["text"] for choice in document["choices"]] == ["a b", "a b", "c", "c"]
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2, 3]
    assert document["usage"]["prompt_tokens"] == 10
    assert document["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize("path", ["/v1/completions", "/completion"])
async def test_a_prompt_may_be_an_object_of_text(client: Client, path: str) -> None:
    text = {"prompt_string": "echo: a b", "multimodal_data": []}
    for prompt, n_answers in ((text, 1), ([text, "echo: c", text], 3)):
        document = await post(client, path, prompt=prompt)
        if path == "/v1/completions":
            texts = [choice["text"] for choice in document["choices"]]
        else:
            texts = [answer["content"] for answer in _as_list(document)]
        assert texts == ["a b", "c", "a b"][:n_answers]


@pytest.mark.parametrize("path", ["/v1/completions", "/completion"])
@pytest.mark.parametrize(
    ("text", "files", "param", "reason"),
    [
        ("a", ["iVBORw0KGgo="], "", "number of files: 1, number of markers: 0"),
        ("<__media__>b", ["iVBORw0KGgo="] * 2, "", "number of files: 2, number of markers: 1"),
        ("<__media__>b", ["bm8="], "[0]", "expected a PNG"),
        ("<__media__>b", ["?"], "[0]", "invalid base64"),
    ],
)
async def test_media_of_a_prompt_have_a_marker_each(
    client: Client, path: str, text: str, files: list[str], param: str, reason: str
) -> None:
    prompt = {"prompt_string": text, "multimodal_data": files}
    for prompts, name in ((prompt, "prompt"), ([prompt], "prompt[0]")):
        refused = (await post(client, path, 400, prompt=prompts))["error"]
        assert refused["param"] == f"{name}.multimodal_data{param}"
        assert reason in refused["message"]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


async def test_log_probabilities_have_the_older_form(client: Client) -> None:
    document = await post(client, "/v1/completions", prompt="echo: a b", logprobs=2)
    assert document["choices"][0]["logprobs"] == {
        "tokens": ["<1>", "<2>"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"<1>": -0.5, "<99>": -1.5}, {"<2>": -0.5, "<99>": -1.5}],
        "text_offset": [0, 3],
    }


async def test_a_stream_brings_texts_and_usage_on_request(client: Client) -> None:
    body = {"model": "m.gguf", "prompt": "echo: a b", "stream": True}
    body["stream_options"] = {"include_usage": True}
    *chunks, usage, done = await events(await client.post("/v1/completions", json=body))
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a b"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2


async def test_several_prompts_are_streamed_side_by_side(client: Client) -> None:
    body = {"model": "m.gguf", "prompt": ["echo: a b", "echo: c"], "n": 2, "stream": True}
    body["stream_options"] = {"include_usage": True}
    *chunks, usage, done = await events(await client.post("/v1/completions", json=body))
    assert done == "[DONE]"
    texts = dict.fromkeys(range(4), "")
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "a b", 1: "a b", 2: "c", 3: "c"}
    assert (usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == (10, 6)


@pytest.mark.parametrize("every", [False, True])
async def test_the_last_chunk_has_timings_and_every_one_on_request(
    client: Client, every: bool
) -> None:
    body = {"model": "m.gguf", "prompt": "echo: a b", "stream": True, "timings_per_token": every}
    *chunks, _ = await events(await client.post("/v1/completions", json=body))
    assert ["timings" in chunk for chunk in chunks] == [every, every, True]


async def test_one_prompt_that_cannot_be_is_an_error_before_the_stream(client: Client) -> None:
    # First, so that its refusal comes before any output of the other.
    body = {"prompt": ["long 100", "echo: a"], "stream": True}
    document = await post(client, "/v1/completions", 400, **body)
    error = document["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echoed_prompt_has_log_probabilities(client: Client, stream: bool) -> None:
    body = {"model": "m.gguf", "prompt": "echo: a b", "echo": True, "logprobs": 1}
    response = await client.post("/v1/completions", json=body | {"stream": stream})
    if stream:
        *chunks, _ = await events(response)
        parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
        reported = {key: [item for part in parts for item in part[key]] for key in parts[0]}
    else:
        reported = (await response.json())["choices"][0]["logprobs"]
    # The first token was put before the text, and nothing predicts it.
    assert reported["tokens"] == ["", "<3>", "<4>", "<1>", "<2>"]
    assert reported["token_logprobs"] == [None, -2.0, -2.0, -0.5, -0.5]
    assert reported["top_logprobs"][:2] == [None, {"<7>": -1.0}]
    assert reported["text_offset"][:4] == [0, 0, 3, 6]


async def test_log_probabilities_of_a_prompt_have_vllms_form(client: Client) -> None:
    body: dict[str, Any] = {"prompt": "echo: a", "prompt_logprobs": 1}
    choice = (await post(client, "/v1/completions", **body))["choices"][0]
    likely = {"logprob": -1.0, "rank": 1, "decoded_token": "<7>"}
    own = {"logprob": -2.0, "rank": None, "decoded_token": "<3>"}
    assert choice["prompt_logprobs"][:2] == [None, {"3": own, "7": likely}]
    assert choice["logprobs"] is None
    assert choice["text"] == "a"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [1, [2]]}, "prompt"),
        ("/v1/completions", {"prompt": ["a"] * 129}, "prompt"),
        ("/v1/completions", {"prompt": [-1]}, "prompt[0]"),
        ("/v1/completions", {"prompt": "a", "top_p": 2}, "top_p"),
    ],
)
async def test_what_cannot_be_honoured_is_a_400_that_names_the_field(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await post(client, path, 400, **body)
    assert document["error"]["param"] == param


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_within_a_character_share_its_place(stream: bool) -> None:
    prompt, said = (
        _entries(b"\xe2", b"\x98", b"\x83\xc3", b"\xb6"),
        _entries(b"\xc3", b"\xb6", b"a"),
    )
    body = CompletionBody(prompt="☃ö", echo=True, logprobs=0)
    tag = AnswerTag("cmpl", "m")
    outputs = [
        SequenceOutput(
            "1",
            0,
            "☃ö",
            WireUsage(4, 1, 0),
            packed_logprobs=pack_logprobs(said[:1]),
            packed_prompt_logprobs=pack_logprobs(prompt),
        ),
        SequenceOutput(
            "1",
            0,
            "öa",
            WireUsage(4, 3, 0),
            packed_logprobs=pack_logprobs(said[1:]),
            finish_reason="stop",
        ),
    ]
    if stream:
        form = CompletionChunks(tag, str, body)
        documents = [chunk for output in outputs for chunk in form.chunks(output)]
    else:
        choice = Choice(0)
        for output in outputs:
            choice.add(output)
        documents = [completion_document(tag, [Answer((choice,), TokenUsage())], body)]
    reported = [document["choices"][0].logprobs for document in documents]
    assert [place for part in reported for place in part.text_offset] == [0, 0, 0, 1, 2, 2, 3]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_generated_completes_no_character_of_the_prompt(stream: bool) -> None:
    body = CompletionBody(prompt="?", echo=True, logprobs=0)
    output = SequenceOutput(
        *("1", 0, "\ufffd\ufffda", WireUsage(1, 2, 0)),
        packed_logprobs=pack_logprobs(_entries(b"\xa9", b"a")),
        packed_prompt_logprobs=pack_logprobs(_entries(b"\xc3")),
    )
    choice = Choice(0)
    choice.add(output)
    if stream:
        [document] = CompletionChunks(AnswerTag("cmpl", "m"), str, body).chunks(output)
    else:
        answer = Answer((choice,), TokenUsage())
        document = completion_document(AnswerTag("cmpl", "m"), [answer], body)
    assert document["choices"][0].logprobs.text_offset == [0, 1, 2]


def _entries(*pieces: bytes) -> tuple[LogprobEntry, ...]:
    return tuple(LogprobEntry(number, piece, -0.5) for number, piece in enumerate(pieces))
