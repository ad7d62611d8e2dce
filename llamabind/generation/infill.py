"""Infiller: prompts for filling a gap in a text, for models that were trained to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llamabind.errors import InvalidParameterError, PromptTooLongError

if TYPE_CHECKING:
    from llamabind.native.tokenizer import Tokenizer

_REPOSITORY: Final = "myproject\n"
_FILE: Final = "filename\n"
_SNIPPET: Final = "\n\n--- snippet ---\n\n"
_ROOM_FOR_ANSWER: Final = 256


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands before and behind a gap, texts and token ids mixed; `begun` is how it begins.

    `files` are (name, text) of other files of the project, the most important last.
    """

    prefix: tuple[int | str, ...]
    suffix: tuple[int | str, ...]
    begun: str = ""
    files: tuple[tuple[str, str], ...] = ()


class Infiller:
    """Puts a gap's surroundings into the order that models learn it in (arXiv:2409.12186).

    As llama-server: repository, other files, then prefix, suffix, middle. The other files take what
    room the rest leaves, their ends first; prefix and suffix are never shortened.
    """

    def __init__(self, tokenizer: Tokenizer, n_ctx: int) -> None:
        self._tokenizer = tokenizer
        self._n_ctx = n_ctx

    def tokens(self, gap: Gap, max_tokens: int | None) -> tuple[int, ...]:
        """Return the prompt, with room for `max_tokens`.

        Raises InvalidParameterError for a model without the tokens, PromptTooLongError.
        """
        before, behind, middle = self._markers()
        prompt = [before, *self._encode(gap.prefix), *self._encode((gap.begun,))]
        prompt += [behind, *self._encode(gap.suffix), middle]
        if self._tokenizer.add_bos and self._tokenizer.bos is not None:
            prompt.insert(0, self._tokenizer.bos)
        if len(prompt) >= self._n_ctx:
            raise PromptTooLongError(len(prompt), self._n_ctx)
        n_answer = _ROOM_FOR_ANSWER if max_tokens is None else max_tokens
        room = max(0, self._n_ctx - len(prompt) - n_answer - 1)
        extra = self._project(gap) if room else []
        return (*extra[max(0, len(extra) - room) :], *prompt)

    def _markers(self) -> tuple[int, int, int]:
        special = self._tokenizer.special
        found = {"prefix": special.fim_pre, "suffix": special.fim_suf, "middle": special.fim_mid}
        missing = [name for name, token in found.items() if token is None]
        if missing:
            raise InvalidParameterError(
                "model", f"it cannot fill gaps: its vocabulary has no token for {_listed(missing)}"
            )
        assert special.fim_pre is not None
        assert special.fim_suf is not None
        assert special.fim_mid is not None
        return special.fim_pre, special.fim_suf, special.fim_mid

    def _project(self, gap: Gap) -> list[int]:
        special = self._tokenizer.special
        tokens: list[int] = []
        if special.fim_rep is not None:
            tokens += [special.fim_rep, *self._encode((_REPOSITORY,))]
        for name, text in gap.files:
            if special.fim_sep is not None:
                tokens += [special.fim_sep, *self._encode((f"{name}\n",))]
            else:
                tokens += self._encode((_SNIPPET,))
            tokens += self._encode((text,))
        if special.fim_sep is not None:
            tokens += [special.fim_sep, *self._encode((_FILE,))]
        return tokens

    def _encode(self, parts: tuple[int | str, ...]) -> list[int]:
        tokens: list[int] = []
        for part in parts:
            if isinstance(part, int):
                tokens.append(part)
            elif part:
                # Code may look like a control token; here it is text.
                tokens += self._tokenizer.encode(part, add_special=False, parse_special=False)
        return tokens


def _listed(names: list[str]) -> str:
    return ", ".join(names)
