"""AnswerBatch: the answers to many prompts, a few of which run at a time; pure Python."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from llamabind.generation.answer import Answer, AnswerBuilder, Generation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamabind.generation.prompter import PromptRequests
    from llamabind.request import GenerationRequest, RequestOutput


class AnswerBatch:
    """Says which request to start next and puts the answers in the order of their prompts.

    At most `window` requests are live at once: enough to keep the engine busy, while a sampler is
    made for each.
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
        """Whether all answers are there."""
        return self.n_finished == self.n_answers

    @property
    def live(self) -> list[str]:
        """The ids of the requests that run, to be cancelled when nobody wants them any more."""
        return list(self._live)

    @property
    def n_answers(self) -> int:
        """How many answers there will be."""
        return len(self._builders)

    @property
    def n_finished(self) -> int:
        """How many answers are there."""
        return len(self._answers)

    def next_request(self) -> GenerationRequest | None:
        """Return the request to start now; None while enough are live."""
        if not self._waiting or len(self._live) >= self._window:
            return None
        request = self._waiting.popleft()
        self._live[request.request_id] = self._builders[request.request_id]
        return request

    def postpone(self, request: GenerationRequest) -> bool:
        """Put back a request that a full queue refused; False when no other one is live, so that
        nothing would ever tell when to try again.
        """
        del self._live[request.request_id]
        self._waiting.appendleft(request)
        self._window = len(self._live)
        return self._window > 0

    def take(self, outputs: Sequence[RequestOutput]) -> None:
        """Take what the engine computed for these requests."""
        for output in outputs:
            builder = self._live[output.request_id]
            answer = builder.add(output)
            if answer is not None:
                self._answers[output.request_id] = answer
                del self._live[output.request_id]

    def results(self) -> list[Generation]:
        """Return the answers of each prompt, in order."""
        return [
            Generation(
                prompt_tokens=prompt.request.prompt_tokens,
                answers=tuple(self._answers[request.request_id] for request in prompt.requests),
                prompt_logprobs=self._builders[prompt.request.request_id].prompt_logprobs,
            )
            for prompt in self._prompts
        ]
