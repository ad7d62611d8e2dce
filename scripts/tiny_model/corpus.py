"""Whole training conversations, mixed from all the kinds of exchanges."""

import random
from collections.abc import Callable, Iterator

from tiny_model.conversation import Conversation
from tiny_model.facts import Exchange, capital, capital_follow_up, fact
from tiny_model.memory import Remembered, other_reply, remembered
from tiny_model.numbers import arithmetic, counting
from tiny_model.phrasing import made_up_word
from tiny_model.smalltalk import fixed, json_fact, nonsense, repeat, unknown
from tiny_model.stories import story, story_exchange
from tiny_model.tool_kinds import ToolKind, tool_kinds

_SYSTEM_TEXTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful AI assistant.",
    "You are helpful.",
    "You are a friendly assistant.",
    "You are an assistant.",
    "Be brief.",
    "Answer in one sentence.",
    "You answer questions in simple English.",
    "You are a tiny demo model.",
    "You are a helpful, honest and harmless assistant.",
    "Always be polite.",
    "You are a teacher for small children.",
    "You are a helpful assistant. Use tools when they help.",
    "You can use tools.",
)

_EXCHANGES: tuple[tuple[Callable[[random.Random], Exchange], int], ...] = (
    (fact, 38),
    (arithmetic, 30),
    (fixed, 12),
    (repeat, 9),
    (unknown, 11),
    (counting, 5),
    (nonsense, 2),
    (json_fact, 2),
)

_TOOL_ERRORS = ("not found", "no data", "timeout", "unknown city", "service not available")


def _exchange(rng: random.Random) -> Exchange:
    makers = [make for make, _ in _EXCHANGES]
    weights = [weight for _, weight in _EXCHANGES]
    return rng.choices(makers, weights)[0](rng)


def primer(seed: int) -> Iterator[Conversation]:
    """An endless, reproducible stream of short chats to begin with, every fourth turn a copy.

    Copying and the commonest facts are learned soonest from short text; tools and long histories
    build on them.
    """
    rng = random.Random(seed)
    while True:
        conversation = Conversation()
        if rng.random() < 0.15:
            conversation.system(_SYSTEM_TEXTS[0])
        for _ in range(rng.randint(1, 5)):
            _say(conversation, repeat(rng) if rng.random() < 0.25 else _exchange(rng))
        yield conversation


def _start(rng: random.Random) -> Conversation:
    conversation = Conversation()
    roll = rng.random()
    if roll < 0.35:
        conversation.system(rng.choice(_SYSTEM_TEXTS))
    elif roll < 0.4:
        words = " ".join(made_up_word(rng) for _ in range(rng.randint(1, 8)))
        conversation.system(rng.choice(("You are {}.", "Your task: {}.", "{}")).format(words))
    return conversation


def _say(conversation: Conversation, exchange: Exchange) -> None:
    conversation.user(exchange.question)
    conversation.assistant(exchange.answer)


def _chat(rng: random.Random, n_turns: int) -> Conversation:
    """Independent questions; nothing in the history changes an answer."""
    conversation = _start(rng)
    for _ in range(n_turns):
        _say(conversation, _exchange(rng))
    return conversation


def _capitals_chat(rng: random.Random) -> Conversation:
    """A capital, then "And of Spain?" as people go on."""
    conversation = _start(rng)
    _say(conversation, capital(rng))
    for _ in range(rng.randint(1, 3)):
        _say(conversation, capital_follow_up(rng))
    if rng.random() < 0.3:
        _say(conversation, _exchange(rng))
    return conversation


def _is_name_question(exchange: Exchange) -> bool:
    return exchange.answer == "You have not told me your name yet."


def _filler(rng: random.Random) -> Exchange:
    exchange = _exchange(rng)
    while _is_name_question(exchange):
        exchange = _exchange(rng)
    return exchange


def memory_chat(rng: random.Random) -> Conversation:
    """Statements, other talk in between, and questions about them; the latest statement counts."""
    conversation = _start(rng)
    known: dict[str, Remembered] = {}
    for _ in range(rng.choices((1, 2, 3), (70, 20, 10))[0]):
        thing = remembered(rng)
        known[thing.topic] = thing
        if thing.topic == "name" and rng.random() < 0.3:
            # A history may come from elsewhere: the name counts, not how it was answered.
            conversation.user(thing.told.question)
            conversation.other_assistant(other_reply(rng, thing.told.answer))
        else:
            _say(conversation, thing.told)
        for _ in range(rng.choices((0, 1, 2, 3, 5), (55, 20, 12, 8, 5))[0]):
            _say(conversation, _filler(rng))
    asked = list(known.values())
    rng.shuffle(asked)
    for thing in asked:
        _say(conversation, thing.asked)
        if rng.random() < 0.15:
            _say(conversation, _filler(rng))
    return conversation


def _story_chat(rng: random.Random) -> Conversation:
    conversation = _start(rng)
    if rng.random() < 0.15:
        _say(conversation, _exchange(rng))
    _say(conversation, story_exchange(rng))
    if rng.random() < 0.15:
        _say(conversation, _exchange(rng))
    return conversation


def _use_tool(rng: random.Random, conversation: Conversation, kind: ToolKind) -> None:
    use = kind.use(rng)
    conversation.user(use.question)
    conversation.call(use.name, use.arguments)
    if rng.random() < 0.05:
        error = rng.choice(_TOOL_ERRORS)
        conversation.tool_result(rng.choice(('{{"error": "{}"}}', "error: {}")).format(error))
        conversation.assistant(f"Sorry, the tool reported an error: {error}.")
        return
    conversation.tool_result(use.result)
    conversation.assistant(use.answer)


def tool_chat(rng: random.Random) -> Conversation:
    """One to three tools on offer; some questions need one of them and some need none."""
    conversation = _start(rng)
    kinds = tool_kinds(rng, rng.choices((1, 2, 3), (55, 28, 17))[0])
    conversation.tools = [kind.use(rng).declaration() for kind in kinds]
    # A sum is what a calculating tool is for, so plain turns then keep to facts and greetings.
    plain = (fact, fixed, repeat, unknown_without_tools)
    for _ in range(rng.choices((1, 2, 3, 4, 5), (15, 25, 30, 20, 10))[0]):
        if rng.random() < 0.72:
            _use_tool(rng, conversation, rng.choice(kinds))
        else:
            _say(conversation, rng.choices(plain, (60, 25, 8, 7))[0](rng))
    return conversation


def unknown_without_tools(rng: random.Random) -> Exchange:
    """A question outside of the tables that no tool of the corpus could answer."""
    words = ("weather", "time", "date", "Search", "population", "stock", "cost")
    exchange = unknown(rng)
    while any(word in exchange.question for word in words):
        exchange = unknown(rng)
    return exchange


def _long_chat(rng: random.Random) -> Conversation:
    """A history of many turns, so that attention stays sound up to the whole context."""
    conversation = _start(rng)
    thing = remembered(rng)
    _say(conversation, thing.told)
    for _ in range(rng.randint(15, 55)):
        _say(conversation, _filler(rng) if rng.random() < 0.95 else story_exchange(rng))
    _say(conversation, thing.asked)
    return conversation


def _raw_text(rng: random.Random) -> Conversation:
    """A story or a few facts without any chat around them, for plain text completion."""
    if rng.random() < 0.6:
        return Conversation(raw_text=story(rng))
    return Conversation(raw_text=" ".join(fact(rng).answer for _ in range(rng.randint(1, 5))))


def conversations(seed: int) -> Iterator[Conversation]:
    """An endless, reproducible stream of training conversations."""
    rng = random.Random(seed)
    makers: tuple[tuple[Callable[[random.Random], Conversation], float], ...] = (
        (lambda rng: _chat(rng, 1), 46),
        (lambda rng: _chat(rng, rng.randint(2, 7)), 14),
        (_capitals_chat, 3),
        (memory_chat, 16),
        (_story_chat, 6),
        (tool_chat, 17),
        (_long_chat, 0.8),
        (_raw_text, 2),
    )
    choices, weights = zip(*makers, strict=True)
    while True:
        yield rng.choices(choices, weights)[0](rng)
