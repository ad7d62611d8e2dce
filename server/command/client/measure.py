"""measure: the speed of a model with several sequences at once, as its clients see it."""

import random
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from server.command.client.client import Client
from server.command.client.errors import DisconnectedError

SHORT_PROMPT: Final = 16
_WORDS: Final = (
    "river", "stone", "letter", "seven", "market", "window", "garden", "early", "paper", "north",
    "winter", "music", "silver", "village", "captain", "orange", "travel", "number", "quiet",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rates are sums over all sequences, in tokens per second; times are in seconds."""

    n_sequences: int
    prompt_tokens_per_second: float
    generated_tokens_per_second: float
    first_token_median: float
    first_token_max: float

    def document(self) -> dict[str, Any]:
        """The measurement for --json."""
        return asdict(self)


@dataclass(slots=True)
class _Timed:
    """One request: when it began, got its first token and ended; its token counts."""

    began: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    n_prompt: int = 0
    n_generated: int = 0


def measure(
    client: Client, model: str, n_sequences: int, n_prompt: int, n_generate: int
) -> Measurement:
    """Measure prompts alone, then generation after short prompts. Raises CommandError."""
    prompts = _run_all(client, model, n_sequences, n_prompt, 1)
    began = min(one.began for one in prompts)
    first_tokens = [one.first - one.began for one in prompts]
    prompt_seconds = max(one.first for one in prompts) - began
    answers = _run_all(client, model, n_sequences, SHORT_PROMPT, n_generate)
    # Each sequence's first token belongs to its prompt.
    n_generated = sum(one.n_generated - 1 for one in answers)
    seconds = max(one.ended for one in answers) - min(one.first for one in answers)
    return Measurement(
        n_sequences,
        sum(one.n_prompt for one in prompts) / max(prompt_seconds, 1e-9),
        n_generated / max(seconds, 1e-9),
        statistics.median(first_tokens),
        max(first_tokens),
    )


def _run_all(
    client: Client, model: str, n_sequences: int, n_prompt: int, n_generate: int
) -> list[_Timed]:
    prompts = [_prompt(client, model, n_prompt) for _ in range(n_sequences)]
    results: list[_Timed] = []
    errors: list[BaseException] = []

    def work(prompt: list[int]) -> None:
        try:
            results.append(_run_one(client, model, prompt, n_generate))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    # Daemons: Ctrl-C ends the command, whose connections then close and cancel the requests.
    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _run_one(client: Client, model: str, prompt: list[int], n_generate: int) -> _Timed:
    timed = _Timed(began=time.monotonic())
    body = {
        "model": model,
        "prompt": prompt,
        "n_predict": n_generate,
        "ignore_eos": True,
        "cache_prompt": False,
        "temperature": 0,
        "stream": True,
    }
    for document in client.stream("POST", "/completion", body):
        if not timed.first:
            timed.first = time.monotonic()
        if document.get("stop"):
            timed.n_prompt = document["tokens_evaluated"]
            timed.n_generated = document["tokens_predicted"]
    timed.ended = time.monotonic()
    if not timed.n_generated:
        raise DisconnectedError
    return timed


def _prompt(client: Client, model: str, n_tokens: int) -> list[int]:
    """Tokens of random words, so that no two prompts begin alike."""
    text = " ".join(random.choices(_WORDS, k=n_tokens))
    body = {"model": model, "content": text, "add_special": False}
    tokens: list[int] = client.post("/tokenize", body)["tokens"]
    return (tokens * (n_tokens // max(1, len(tokens)) + 1))[:n_tokens]
