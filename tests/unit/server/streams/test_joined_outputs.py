"""TokenStream.take: what has accumulated is joined, but never to pieces of any size."""

from server.protocol.outputs import SequenceOutput, WireUsage
from server.streams.token_stream import TokenStream

N_OUTPUTS = 100
LARGE = 10_000


def _stream(n_answers: int, n_bytes: int) -> TokenStream:
    """N_OUTPUTS outputs of each answer wait in it, each with log probabilities of `n_bytes`."""
    stream = TokenStream("r", n_answers)
    for n in range(1, N_OUTPUTS + 1):
        for index in range(n_answers):
            usage = WireUsage(4, n, 0)
            packed = (bytes(n_bytes),) if n_bytes else ()
            stream.deliver(
                SequenceOutput("r", index, f"{n} ", usage, packed_logprobs=packed, token_ids=(n,))
            )
    return stream


def _taken(stream: TokenStream) -> list[SequenceOutput]:
    outputs = []
    while (output := stream.take()) is not None:
        outputs.append(output)
    return outputs


def _tokens(outputs: list[SequenceOutput], index: int) -> list[int]:
    return [token for output in outputs if output.index == index for token in output.token_ids]


def test_small_outputs_of_an_answer_become_one():
    outputs = _taken(_stream(n_answers=1, n_bytes=0))
    assert len(outputs) == 1
    assert outputs[0].text == "".join(f"{n} " for n in range(1, N_OUTPUTS + 1))
    assert outputs[0].usage.completion_tokens == N_OUTPUTS


def test_a_join_of_large_outputs_stays_small_and_loses_nothing():
    stream = _stream(n_answers=2, n_bytes=LARGE)
    outputs = _taken(stream)
    assert max(sum(map(len, output.packed_logprobs)) for output in outputs) == 3 * LARGE
    for index in (0, 1):
        assert _tokens(outputs, index) == list(range(1, N_OUTPUTS + 1))
    assert stream.pending.n_bytes == 0


def test_an_output_above_the_size_of_a_join_is_taken_alone():
    outputs = _taken(_stream(n_answers=1, n_bytes=5 * LARGE))
    assert [output.token_ids for output in outputs] == [(n,) for n in range(1, N_OUTPUTS + 1)]


def test_one_output_of_each_of_many_answers_is_taken_as_it_is():
    stream = TokenStream("r", 64)
    delivered = [SequenceOutput("r", index, "a", WireUsage(4, 1, 0)) for index in range(64)]
    for output in delivered:
        stream.deliver(output)
    taken = _taken(stream)
    assert all(one is other for one, other in zip(taken, delivered, strict=True))
