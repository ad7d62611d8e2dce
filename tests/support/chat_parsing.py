"""Parse an answer whole, cut at every byte and streamed by letters, and compare the results."""

from llamabind.chat.output_parser import MessageDelta, OutputParser, ParsedMessage, ToolCall


def joined(deltas: list[MessageDelta]) -> ParsedMessage:
    """The message that a client builds from deltas; checks that each call is named once."""
    calls: list[list[str]] = []
    for delta in deltas:
        call = delta.tool_call
        assert [delta.content, delta.reasoning_content, call].count(None) == 2
        if call is None:
            continue
        if call.index == len(calls):
            assert call.id
            assert call.name
            calls.append([call.id, call.name, ""])
        else:
            assert call.id is None
            assert call.name is None
        calls[call.index][2] += call.arguments
    return ParsedMessage(
        content="".join(delta.content or "" for delta in deltas),
        reasoning_content="".join(delta.reasoning_content or "" for delta in deltas),
        tool_calls=tuple(ToolCall(*call) for call in calls),
    )


def streamed_message(parser: OutputParser, text: str) -> ParsedMessage:
    deltas = [delta for letter in text for delta in parser.feed(letter)]
    return joined(deltas + list(parser.feed("", final=True)))


def _assert_begins(begun: ParsedMessage, whole: ParsedMessage, text: str) -> None:
    """A parse of the answer's beginning must be a beginning of the parse of the whole."""
    assert not begun.is_fallback, text
    assert whole.content.startswith(begun.content.rstrip()), text
    assert whole.reasoning_content.startswith(begun.reasoning_content.rstrip()), text
    assert len(begun.tool_calls) <= len(whole.tool_calls), text
    for call, said in zip(whole.tool_calls, begun.tool_calls, strict=False):
        assert call.name.startswith(said.name), text
        assert call.arguments.startswith(said.arguments), text


def check_every_way(parser_spec: str, text: str) -> ParsedMessage:
    """Parse whole, cut at every byte, and streamed by letters; the results must agree."""
    with OutputParser(parser_spec) as parser:
        data = text.encode()
        whole = parser.parse(text)
        for end in range(len(data)):
            begun = data[:end].decode(errors="ignore")
            _assert_begins(parser.parse(begun, partial=True), whole, begun)
        streamed = streamed_message(parser, text)
        assert parser.message == streamed
    assert not whole.is_fallback
    assert streamed.content == whole.content
    assert streamed.reasoning_content == whole.reasoning_content
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, call.arguments) for call in whole.tool_calls
    ]
    return whole
