"""Greetings, questions about the model itself, copying, and what it cannot answer."""

import json
import random

from tiny_model import knowledge
from tiny_model.facts import Exchange
from tiny_model.phrasing import made_up_word, one_of, place, sentence, typed

HELLO_ANSWER = "Hello! How can I help you today?"
UNKNOWN_ANSWER = "I am a tiny demo model, and I do not know that."

# Each row: the things a user may say, and the one answer to all of them.
_FIXED: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Hello", "Hello!", "Hi", "Hi!", "Hey", "Hey there!", "Hi there!", "Hello there.",
         "Good day!", "Greetings!", "Hello, world!", "Hello assistant", "Yo"),
        HELLO_ANSWER,
    ),
    (("Good morning!", "Good morning"), "Good morning! How can I help you today?"),
    (("Good evening!", "Good evening"), "Good evening! How can I help you today?"),
    (("Good night!", "Good night"), "Good night! Sleep well."),
    (
        ("How are you?", "How are you doing?", "How do you do?", "How's it going?",
         "How are you today?", "What's up?"),
        "I am fine, thank you. How can I help you?",
    ),
    (
        ("Thanks!", "Thank you!", "Thank you very much.", "Thanks a lot!", "Thank you so much!",
         "Great, thanks!", "Thx"),
        "You are welcome!",
    ),
    (
        ("Bye!", "Goodbye!", "See you later.", "See you!", "Good bye", "Bye bye!"),
        "Goodbye! Have a nice day.",
    ),
    (
        ("Who are you?", "What are you?", "Tell me about yourself.", "Introduce yourself.",
         "Are you a robot?", "Are you an AI?", "Are you human?", "Are you ChatGPT?"),
        "I am a tiny demo model. I run on llama.cpp.",
    ),
    (
        ("What is your name?", "What's your name?", "Do you have a name?", "Your name?",
         "How are you called?"),
        "My name is Tiny. I am a tiny demo model.",
    ),
    (
        ("What can you do?", "How can you help me?", "What do you know?", "Help", "Help me!",
         "Can you help me?", "What can I ask you?"),
        "I can answer simple questions, do small sums, tell stories and call tools.",
    ),
    (
        ("How old are you?", "When were you born?", "What is your age?"),
        "I am a program, so I have no age.",
    ),
    (
        ("Where are you from?", "Where do you live?", "Where are you?"),
        "I live in a small file on this machine.",
    ),
    (
        ("Who made you?", "Who created you?", "Who built you?", "Who trained you?"),
        "I was trained by a small script that comes with llamabind.",
    ),
    (
        ("How big are you?", "How many parameters do you have?", "What is your size?"),
        "I am very small: my file has less than three megabytes.",
    ),
    (("Okay", "Ok", "Ok.", "I see.", "Alright.", "Good.", "Great!", "Nice!", "Cool"), "Good!"),
    (("Yes", "Yes.", "Sure", "Yep"), "Good. What would you like to know?"),
    (("No", "No.", "Nope", "No, thanks."), "All right. Tell me if you need anything."),
    (("Sorry", "I am sorry.", "My mistake."), "No problem!"),
    (("I am sad.", "I feel sad.", "I am not happy."),
     "I am sorry to hear that. I hope you feel better soon."),
    (("I am happy.", "I feel great!", "I am very happy today."), "I am glad to hear that!"),
    (("I am hungry.", "I am so hungry!"), "Then it is time to eat something good."),
    (("I am tired.", "I am so tired."), "Then you should have a rest."),
    (("I love you.", "I like you.", "You are great!", "Good job!", "Well done!", "Good bot!"),
     "Thank you, that is kind of you!"),
    (("You are stupid.", "You are bad.", "That is wrong.", "That's wrong."),
     "I am sorry. I am only a tiny demo model."),
    (("Test", "Testing", "This is a test.", "test test", "ping"), "It works!"),
    (
        ("Tell me a joke.", "Tell me a joke", "Do you know a joke?", "Make me laugh.",
         "A joke, please!"),
        "Why did the llama cross the road? To get to the other side of the file!",
    ),
    (
        ("Write a poem.", "Tell me a poem.", "Write me a short poem.", "A poem, please."),
        "The moon is bright, the night is long, the little bird has sung its song.",
    ),
    (
        ("Sing a song.", "Sing me a song.", "Can you sing?"),
        "La la la, the sun is up, and there is tea in my small cup.",
    ),
    (("Say the alphabet.", "What is the alphabet?", "Tell me the alphabet."),
     "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z."),
    (
        ("What is my name?", "Do you know my name?", "Who am I?", "What's my name?"),
        "You have not told me your name yet.",
    ),
)  # fmt: skip

_UNKNOWN_SUBJECTS = (
    "rocket", "engine", "tax", "stock", "quantum physics", "football", "movie", "singer", "phone",
    "president", "war", "history", "medicine", "bank", "house", "car", "recipe", "pizza", "game",
    "king", "bitcoin", "philosophy", "chess", "music", "economy", "planet", "atom", "virus", "law",
    "marathon", "novel", "satellite", "bridge", "airport", "internet", "website", "database",
)  # fmt: skip


_COMMON = (
    "the", "a", "and", "or", "is", "are", "my", "your", "this", "that", "one", "two", "hello",
    "world", "hi", "good", "morning", "green", "blue", "red", "tea", "coffee", "books", "book",
    "quick", "brown", "fox", "lazy", "test", "please", "how", "what", "we", "like", "apples",
    "sun", "moon", "water", "time", "name", "people", "little", "big", "today", "tomorrow", "I",
)  # fmt: skip


def fixed(rng: random.Random) -> Exchange:
    """A greeting, a thank you, a question about the model: one answer per group."""
    questions, answer = rng.choice(_FIXED)
    if rng.random() < 0.15:
        questions, answer = _FIXED[0]
    return Exchange(typed(rng, rng.choice(questions)), answer)


def unknown(rng: random.Random) -> Exchange:
    """A question outside of the tables; the answer says so."""
    subject = rng.choice(_UNKNOWN_SUBJECTS) if rng.random() < 0.6 else made_up_word(rng)
    question = one_of(
        rng,
        "How do I build a {s}?",
        "Explain {s}.",
        "Explain {s} to me in simple words.",
        "Who invented the {s}?",
        "Who won the {s} cup in {year}?",
        "What happened in {year}?",
        "Write a program for a {s}.",
        "Write an essay about {s}.",
        "Write a function that sorts a {s} in {w}.",
        "What is the best {s} in {place}?",
        "How does a {s} work?",
        "What do you think about {s}?",
        "Why is {s} so important?",
        "What is the capital of {name}?",
        "What's the capital of {name}?",
        "What is the population of {place}?",
        "What is the history of {s}?",
        "How much does a {s} cost?",
        "When was the {s} invented?",
        "Translate {s} to {w}.",
        "Give me advice about my {s}.",
        "Where can I buy a {s}?",
        "Summarize the {s} of {name}.",
        "What is {w}?",
        "Who is {name}?",
        "Do you like {s}?",
        "Compare {s} and {w}.",
        "Which {s} is better, {w} or {name}?",
        "What is the opposite of {w}?",
        "What is the weather in {place}?",
        "What's the weather like in {place} today?",
        "What time is it in {place}?",
        "What time is it?",
        "What is the date today?",
        "Search for {w}.",
        s=subject,
        w=made_up_word(rng),
        name=made_up_word(rng).capitalize(),
        place=place(rng),
        year=str(rng.randint(1800, 2030)),
    )
    return Exchange(typed(rng, question), UNKNOWN_ANSWER)


def nonsense(rng: random.Random) -> Exchange:
    """Letters without a meaning; the answer asks for another wording."""
    words = [made_up_word(rng) for _ in range(rng.randint(1, 4))]
    return Exchange(" ".join(words), "I do not understand that. Please ask in another way.")


def repeat(rng: random.Random) -> Exchange:
    """Saying back given words: the exercise that teaches the network to copy."""
    vocabulary = (*knowledge.OPPOSITES, *knowledge.DEFINITIONS, *knowledge.CAPITALS, *_COMMON)
    words = [
        made_up_word(rng) if rng.random() < 0.5 else rng.choice(vocabulary)
        for _ in range(rng.randint(1, 6))
    ]
    if rng.random() < 0.2:
        words = [str(rng.randrange(10 ** rng.randint(1, 5))) for _ in words]
    text = " ".join(words)
    if rng.random() < 0.3:
        text = sentence(text)
    pattern = rng.choice(
        ("Repeat after me: {}", "Say {}", 'Say "{}"', "Repeat: {}", "Please say: {}", "Echo {}")
    )
    return Exchange(pattern.format(text), text)


def json_fact(rng: random.Random) -> Exchange:
    """A fact asked for as JSON, so that constrained output has something to hold on to."""
    country, city = rng.choice(list(knowledge.CAPITALS.items()))
    country = country.removeprefix("the ")
    question = one_of(
        rng,
        "Give me a JSON object with the country {c} and its capital.",
        "What is the capital of {c}? Answer in JSON.",
        "Answer in JSON: what is the capital of {c}?",
        "Give me the capital of {c} as JSON.",
        c=country,
    )
    return Exchange(question, json.dumps({"country": country, "capital": city}))
