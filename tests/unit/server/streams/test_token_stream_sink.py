"""TokenStream with a sink: outputs that are taken where they arrive, in order with the others."""

import asyncio

from server.protocol.outputs import SequenceOutput, WireUsage
from server.streams.token_stream import TokenStream


class _Sink:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.is_open = True

    def __call__(self, output: SequenceOutput) -> bool:
        if self.is_open:
            self.texts.append(output.text)
        return self.is_open


def _output(text: str, n: int, finish_reason: str | None = None) -> SequenceOutput:
    return SequenceOutput("r", 0, text, WireUsage(4, n, 0), finish_reason)


async def _waiting(stream: TokenStream, sink: _Sink) -> asyncio.Task[SequenceOutput | None]:
    task = asyncio.create_task(stream.next(None, sink))
    await asyncio.sleep(0)
    return task


async def test_a_waiting_reader_is_not_woken_for_an_output_that_its_sink_takes():
    stream, sink = TokenStream("r"), _Sink()
    task = await _waiting(stream, sink)
    stream.deliver(_output("a", 1))
    stream.deliver(_output("b", 2))
    await asyncio.sleep(0)
    assert sink.texts == ["a", "b"]
    assert not task.done()
    assert stream.usage.completion == 2
    assert stream.pending.n_bytes == 0
    task.cancel()


async def test_after_an_output_that_the_sink_refuses_all_come_to_the_reader_in_order():
    stream, sink = TokenStream("r"), _Sink()
    task = await _waiting(stream, sink)
    sink.is_open = False
    stream.deliver(_output("a", 1))
    sink.is_open = True
    stream.deliver(_output("b", 2))
    assert sink.texts == []
    first, second = await task, stream.take()
    assert first is not None
    assert second is not None
    assert first.text + second.text == "ab"


async def test_the_last_output_of_an_answer_comes_to_the_reader():
    stream, sink = TokenStream("r"), _Sink()
    task = await _waiting(stream, sink)
    stream.deliver(_output("a", 1, "stop"))
    last = await task
    assert sink.texts == []
    assert last is not None
    assert last.finish_reason == "stop"
    assert stream.is_done


async def test_an_output_that_comes_while_the_reader_is_busy_waits_for_it():
    stream, sink = TokenStream("r"), _Sink()
    stream.deliver(_output("a", 1))
    assert sink.texts == []
    assert (await stream.next(None, sink)) is not None
