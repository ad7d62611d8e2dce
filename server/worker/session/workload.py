"""The work that a message causes: characters to tokenise, and whether media to encode."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from llamabind.chat.media_markers import is_medium
from server.protocol.job import ChatPrompt, InfillPrompt, Job, TextPrompt
from server.protocol.messages import Ask, Submit
from server.protocol.tasks import Detokenize, Embed, Rank, Render, Task, Tokenize


def n_characters(message: object) -> int:
    """About the number of characters to tokenise."""
    match message:
        case Submit(job=job):
            return _n_of_job(job)
        case Ask(task=task):
            return _n_of_task(task)
        case _:
            return 0


def has_media(message: object) -> bool:
    """Whether there are images or audio to encode."""
    match message:
        case Submit(job=Job(prompt=ChatPrompt(messages=messages))):
            pass
        case Submit(job=Job(prompt=TextPrompt(content=content))):
            return any(map(is_medium, content))
        case Ask(task=Render(job=Job(prompt=ChatPrompt(messages=messages)))):
            pass
        case _:
            return False
    contents = (message.get("content") for message in messages)
    return any(map(is_medium, chain(*(part for part in contents if isinstance(part, list)))))


def _n_of_job(job: Job) -> int:
    prompt = job.prompt
    if isinstance(prompt, ChatPrompt):
        return _n_of_texts(_texts(prompt.messages))
    if isinstance(prompt, InfillPrompt):
        sides = [*_parts(prompt.prefix), *_parts(prompt.suffix), prompt.content]
        return _n_of_texts([*sides, *(extra.text for extra in prompt.extra)])
    return _n_of_texts(_parts(prompt.content))


def _parts(content: str | Iterable[object]) -> Iterable[object]:
    return [content] if isinstance(content, str) else content


def _n_of_task(task: Task) -> int:
    match task:
        case Render(job):
            return _n_of_job(job)
        case Tokenize(content=content):
            return _n_of_texts([content] if isinstance(content, str) else content)
        case Embed(inputs=inputs):
            return _n_of_texts(part for item in inputs for part in _parts(item))
        case Rank(query=query, documents=documents):
            return len(query) * len(documents) + _n_of_texts(documents)
        case Detokenize(tokens):
            return len(tokens)
        case _:
            return 0


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterator[object]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            yield from (part.get("text") for part in content)
        else:
            yield content


def _n_of_texts(texts: Iterable[object]) -> int:
    return sum(len(text) for text in texts if isinstance(text, str))
