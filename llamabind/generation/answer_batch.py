"""AnswerBatch: collects the answers to many prompts, a few at a time; pure Python."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from llamabind.generation.answer import Answer, AnswerBuilder, Generation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamabind.generation.prompt_requests import PromptRequests
    from llamabind.request import GenerationRequest, RequestOutput


class AnswerBatch:
    """Chooses which request to start next and returns the answers in the order of their prompts.

    At most `window` requests are live (started and not ended) at once: enough to keep the engine
    busy, and not one sampler in memory for each of thousands of prompts.
    """

    def __init__(self, prompts: Sequence[PromptRequests], window: int) -> None:
        self._prompts = prompts
        self._window = window
        self._waiting = deque(request for prompt in prompts for request in prompt.requests)
        self._live: dict[str, AnswerBuilder] = {}
        self._builders = {
            request.request_id: AnswerBuilder(prompt.make_parser)
            for prompt in prompts
            for request in prompt.requests
        }
        self._answers: dict[str, Answer] = {}

    @property
    def is_done(self) -> bool:
        """True once all answers are complete."""
        return self.n_finished == self.n_answers

    @property
    def live(self) -> list[str]:
        """The ids of the started, unfinished requests: those to cancel if the caller gives up."""
        return list(self._live)

    @property
    def n_answers(self) -> int:
        """How many answers there will be in the end."""
        return len(self._builders)

    @property
    def n_finished(self) -> int:
        """How many answers are complete."""
        return len(self._answers)

    def next_request(self) -> GenerationRequest | None:
        """Return the request to start now; None if `window` are live or all were started."""
        if not self._waiting or len(self._live) >= self._window:
            return None
        request = self._waiting.popleft()
        self._live[request.request_id] = self._builders[request.request_id]
        return request

    def postpone(self, request: GenerationRequest) -> bool:
        """Put back a request that a full queue refused, to start it when another one ends.

        False if no other request of this batch is live: then nothing triggers the next attempt.
        """
        del self._live[request.request_id]
        self._waiting.appendleft(request)
        self._window = len(self._live)
        return self._window > 0

    def take(self, outputs: Sequence[RequestOutput]) -> None:
        """Add the engine's outputs for requests of this batch."""
        for output in outputs:
            builder = self._live[output.request_id]
            answer = builder.add(output)
            if answer is not None:
                self._answers[output.request_id] = answer
                del self._live[output.request_id]

    def results(self) -> list[Generation]:
        """Return all answers, in the order of the prompts; call it when `is_done`."""
        return [
            Generation(
                prompt_tokens=prompt.request.prompt_tokens,
                answers=tuple(self._answers[request.request_id] for request in prompt.requests),
                prompt_logprobs=self._builders[prompt.request.request_id].prompt_logprobs,
            )
            for prompt in self._prompts
        ]
