"""n_characters: how much text a message brings to tokenise."""

from collections.abc import Iterable

from server.job import ChatPrompt, Job
from server.protocol import Ask, Submit
from server.tasks import Detokenize, Embed, ListSlots, Rank, Render, Task, Tokenize


def n_characters(message: object) -> int:
    """About how much there is to tokenise."""
    match message:
        case Submit(job=job):
            return _n_of_job(job)
        case Ask(task=task):
            return _n_of_task(task)
        case _:
            return 0


def _n_of_job(job: Job) -> int:
    prompt = job.prompt
    if isinstance(prompt, ChatPrompt):
        return _n_of_texts(message.get("content") for message in prompt.messages)
    return _n_of_texts([prompt.content] if isinstance(prompt.content, str) else prompt.content)


def _n_of_task(task: Task) -> int:
    match task:
        case Render(job):
            return _n_of_job(job)
        case Tokenize(content=content):
            return _n_of_texts([content] if isinstance(content, str) else content)
        case Embed(inputs=inputs):
            return _n_of_texts(inputs)
        case Rank(query=query, documents=documents):
            return len(query) * len(documents) + _n_of_texts(documents)
        case Detokenize(tokens):
            return len(tokens)
        case ListSlots():
            return 0


def _n_of_texts(texts: Iterable[object]) -> int:
    return sum(len(text) for text in texts if isinstance(text, str))
