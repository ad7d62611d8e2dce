"""Infiller: fill-in-the-middle prompts, for models with the tokens for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llamabind.chat.render_limit import check_limit
from llamabind.errors import InvalidParameterError, PromptTooLongError

if TYPE_CHECKING:
    from llamabind.native.tokenizer import Tokenizer

_REPOSITORY: Final = "myproject\n"
_FILE: Final = "filename\n"
_SNIPPET: Final = "\n\n--- snippet ---\n\n"
_DEFAULT_ANSWER_TOKENS: Final = 256


@dataclass(frozen=True, slots=True)
class Gap:
    """The text before and after a gap, as strings and token ids; `begun` is how the gap begins.

    `files` are the names and texts of other files of the project, the most important last.
    """

    prefix: tuple[int | str, ...]
    suffix: tuple[int | str, ...]
    begun: str = ""
    files: tuple[tuple[str, str], ...] = ()


class Infiller:
    """Builds the prompt for a gap in the order that models are trained with (arXiv:2409.12186).

    As in llama-server: repository, other files, then prefix, suffix, middle. If the whole does not
    fit the context, tokens at the start of the repository part are left out; prefix and suffix are
    never shortened.
    """

    def __init__(self, tokenizer: Tokenizer, n_ctx: int) -> None:
        self._tokenizer = tokenizer
        self._n_ctx = n_ctx

    def tokens(self, gap: Gap, max_tokens: int | None) -> tuple[int, ...]:
        """Return the prompt, which leaves `max_tokens` (None: 256) of the context for the answer.

        Raises InvalidParameterError for a model without fill-in-the-middle tokens, and
        PromptTooLongError.
        """
        before, behind, middle = self._markers()
        prompt = [before, *self._encode(gap.prefix), *self._encode((gap.begun,))]
        prompt += [behind, *self._encode(gap.suffix), middle]
        if self._tokenizer.add_bos and self._tokenizer.bos is not None:
            prompt.insert(0, self._tokenizer.bos)
        if len(prompt) >= self._n_ctx:
            raise PromptTooLongError(len(prompt), self._n_ctx)
        n_answer = _DEFAULT_ANSWER_TOKENS if max_tokens is None else max_tokens
        n_left = max(0, self._n_ctx - len(prompt) - n_answer - 1)
        extra = self._project(gap) if n_left else []
        return (*extra[max(0, len(extra) - n_left) :], *prompt)

    def _markers(self) -> tuple[int, int, int]:
        special = self._tokenizer.special
        found = {"prefix": special.fim_pre, "suffix": special.fim_suf, "middle": special.fim_mid}
        missing = [name for name, token in found.items() if token is None]
        if missing:
            raise InvalidParameterError(
                "model", f"cannot fill gaps: its vocabulary has no token for {_listed(missing)}"
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
                # Text that is spelled like a control token stays text.
                tokens += self._tokenizer.encode(part, add_special=False, check=check_limit)
        return tokens


def _listed(names: list[str]) -> str:
    return ", ".join(names)
