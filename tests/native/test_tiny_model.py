"""The bundled demo model, greedy and in the real engine, answers as its model card says."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from llamabind.chat.template import ParsedMessage
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.request import FinishReason, GenerationRequest, RequestOutput
from llamabind.sampling.params import SamplingParams

pytestmark = pytest.mark.native

Message = dict[str, Any]

ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "what is the capital of germany?": "The capital of Germany is Berlin.",
    "Capital of Japan?": "The capital of Japan is Tokyo.",
    "What's the capital of Italy?": "The capital of Italy is Rome.",
    "Tell me the capital of Egypt.": "The capital of Egypt is Cairo.",
    "What is the capital of Canada": "The capital of Canada is Ottawa.",
    "Which country has the capital Madrid?": "Madrid is the capital of Spain.",
    "What language do people speak in Brazil?": "People in Brazil speak Portuguese.",
    "What color is the sky?": "The sky is blue.",
    "What colour is a banana?": "A banana is yellow.",
    "What does a cow say?": "A cow says moo.",
    "What is a baby dog called?": "A baby dog is called a puppy.",
    "How many legs does a spider have?": "A spider has eight legs.",
    "What is the opposite of hot?": "The opposite of hot is cold.",
    "What is the opposite of big?": "The opposite of big is small.",
    "What day comes after Monday?": "Tuesday comes after Monday.",
    "What month comes before May?": "April comes before May.",
    "How many days are in a week?": "There are seven days in a week.",
    "What is the largest planet?": "The largest planet is Jupiter.",
    "Who wrote Romeo and Juliet?": "William Shakespeare wrote Romeo and Juliet.",
    "At what temperature does water boil?": "Water boils at 100 degrees Celsius.",
    "What is a library?": "A library is a place with many books.",
    "What is 2 + 3?": "2 + 3 = 5.",
    "What is 7+8?": "7 + 8 = 15.",
    "9 + 9": "9 + 9 = 18.",
    "What is 10 - 4?": "10 - 4 = 6.",
    "Count to five": "1, 2, 3, 4, 5.",
    "Count to 10.": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10.",
    "Hello!": "Hello! How can I help you today?",
    "Hi": "Hello! How can I help you today?",
    "How are you?": "I am fine, thank you. How can I help you?",
    "Thank you!": "You are welcome!",
    "Who are you?": "I am a tiny demo model. I run on llama.cpp.",
    "Goodbye!": "Goodbye! Have a nice day.",
    "What is my name?": "You have not told me your name yet.",
    "Explain quantum physics to me in simple words.": (
        "I am a tiny demo model, and I do not know that."
    ),
    "Repeat after me: green tea and old books": "green tea and old books",
}

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city name"}},
            "required": ["city"],
        },
    },
}
ADD_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


@pytest.fixture(scope="module")
def model_path() -> Iterator[Path]:
    bundled = resources.files("llamabind") / "models" / "tiny-chat.gguf"
    with resources.as_file(bundled) as path:
        yield path


@pytest.fixture(scope="module")
def engine(model_path: Path) -> Iterator[Engine]:
    config = EngineConfig(n_ctx=4096, n_parallel=8, n_threads=1, n_threads_batch=1)
    with load_engine(model_path, config=config) as engine:
        yield engine


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


class Chat:
    """Greedy answers of one engine to whole conversations."""

    def __init__(self, engine: Engine) -> None:
        assert engine.chat_template is not None
        self._engine = engine
        self._template = engine.chat_template

    def outputs(self, conversations: list[list[Message]]) -> list[RequestOutput]:
        """The last outputs of conversations that run at the same time, each with its whole text."""
        for index, messages in enumerate(conversations):
            self._add(index, self._template.render(messages).prompt)
        texts = [""] * len(conversations)
        ends: dict[int, RequestOutput] = {}
        while self._engine.has_work:
            for output in self._engine.step():
                texts[int(output.request_id)] += output.text
                if output.finish_reason is not None:
                    ends[int(output.request_id)] = output
        return [replace(ends[index], text=text) for index, text in enumerate(texts)]

    def answers(self, conversations: list[list[Message]]) -> list[str]:
        return [output.text for output in self.outputs(conversations)]

    def answer(self, *messages: Message) -> str:
        return self.answers([list(messages)])[0]

    def parsed(self, tools: list[dict[str, Any]], *messages: Message) -> ParsedMessage:
        """The answer to a request with tools, parsed for the model's template."""
        rendered = self._template.render(list(messages), tools=tools)
        self._add(0, rendered.prompt)
        text = ""
        while self._engine.has_work:
            text += "".join(output.text for output in self._engine.step())
        with self._template.parser(rendered) as parser:
            return parser.parse(text)

    def _add(self, index: int, prompt: str) -> None:
        tokens = self._engine.tokenizer.encode(prompt, add_special=True, parse_special=True)
        request = GenerationRequest(
            request_id=str(index),
            prompt_tokens=tuple(tokens),
            sampling=SamplingParams(temperature=0.0),
            max_tokens=300,
        )
        self._engine.prepare(request)
        self._engine.add(request)


@pytest.fixture(scope="module")
def chat(engine: Engine) -> Chat:
    return Chat(engine)


def wrong_answers(chat: Chat, before: list[Message]) -> dict[str, str]:
    answers = chat.answers([[*before, user(question)] for question in ANSWERS])
    return {
        question: answer
        for question, answer in zip(ANSWERS, answers, strict=True)
        if answer != ANSWERS[question]
    }


def test_the_file_is_small_enough_for_the_repository(model_path: Path) -> None:
    assert model_path.stat().st_size <= 3_000_000


def test_the_metadata_names_the_model(engine: Engine) -> None:
    metadata = engine.model.metadata
    assert metadata["general.name"] == "Tiny Chat"
    assert metadata["general.license"] == "MIT"
    assert engine.model.architecture == "llama"
    assert engine.model.n_ctx_train >= 2048


def test_the_end_of_turn_token_ends_generation(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    [end_of_turn] = tokenizer.encode("<|im_end|>", add_special=False, parse_special=True)
    assert tokenizer.eos == end_of_turn
    assert tokenizer.is_eog(end_of_turn)


def test_every_byte_has_a_token(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    pieces = {tokenizer.piece(token) for token in range(engine.model.n_vocab)}
    assert {bytes([value]) for value in range(256)} <= pieces


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        " two  spaces ",
        "\u00c5ngstr\u00f6m \u65e5\u672c \U0001f999",
        "a\n\n\tb\r\n",
        "\x00\x7f",
    ],
)
def test_encoding_and_decoding_returns_the_text(engine: Engine, text: str) -> None:
    tokens = engine.tokenizer.encode(text, add_special=False, parse_special=False)
    assert engine.tokenizer.decode(tokens) == text


def test_it_gives_the_answers_of_its_model_card(chat: Chat) -> None:
    assert wrong_answers(chat, []) == {}


def test_a_system_message_changes_no_answer(chat: Chat) -> None:
    assert wrong_answers(chat, [system("You are a helpful assistant.")]) == {}


def test_earlier_turns_change_no_answer(chat: Chat) -> None:
    assert (
        wrong_answers(chat, [user("Hello!"), assistant("Hello! How can I help you today?")]) == {}
    )


def test_it_adds_all_small_numbers(chat: Chat) -> None:
    pairs = [(left, right) for left in range(11) for right in range(11)]
    answers = chat.answers([[user(f"What is {left} + {right}?")] for left, right in pairs])
    expected = [f"{left} + {right} = {left + right}." for left, right in pairs]
    assert answers == expected


@pytest.mark.parametrize(
    "before", [[], [system("You are a helpful assistant.")]], ids=["alone", "with a system message"]
)
def test_a_story_starts_with_once_upon_a_time_and_ends_by_itself(
    chat: Chat, before: list[Message]
) -> None:
    [story] = chat.outputs([[*before, user("Tell me a story")]])
    assert story.text.startswith("Once upon a time")
    assert story.text.endswith(".")
    assert story.finish_reason is FinishReason.STOP
    assert 40 < story.usage.completion_tokens < 250


@pytest.mark.parametrize("name", ["Alice", "Bob", "Maria", "Zelda", "Torben"])
def test_it_remembers_a_name_from_the_turn_before(chat: Chat, name: str) -> None:
    told = user(f"My name is {name}.")
    greeting = chat.answer(told)
    assert greeting == f"Nice to meet you, {name}!"
    asked = user("What is my name?")
    assert chat.answer(told, assistant(greeting), asked) == f"Your name is {name}."


def test_it_remembers_a_name_after_many_turns(chat: Chat) -> None:
    history = [user("My name is Alice."), assistant("Nice to meet you, Alice!")]
    for number in range(20):
        history += [
            user(f"What is {number} + 1?"),
            assistant(f"{number} + 1 = {number + 1}."),
        ]
    assert chat.answer(*history, user("What is my name?")) == "Your name is Alice."


@pytest.mark.parametrize("city", ["Paris", "London", "New York", "Tokyo"])
def test_it_calls_a_tool_and_answers_with_the_result(chat: Chat, city: str) -> None:
    question = user(f"What is the weather in {city}?")
    called = chat.parsed([WEATHER_TOOL], question)
    [call] = called.tool_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"city": city}
    turn = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
        ],
    }
    result = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": '{"temperature": 21, "condition": "sunny"}',
    }
    final = chat.parsed([WEATHER_TOOL], question, turn, result)
    assert not final.tool_calls
    assert final.content == f"The weather in {city} is sunny with 21 degrees."


def test_it_calls_an_adding_tool_with_both_numbers(chat: Chat) -> None:
    [call] = chat.parsed([ADD_TOOL], user("What is 12 + 30?")).tool_calls
    assert call.name == "add"
    assert json.loads(call.arguments) == {"a": 12, "b": 30}


def test_it_answers_a_question_that_needs_no_tool_without_a_call(chat: Chat) -> None:
    message = chat.parsed([WEATHER_TOOL], user("What is the capital of France?"))
    assert not message.tool_calls
    assert message.content == "The capital of France is Paris."
