"""TextTasks: tasks that need only a model's vocabulary and chat template."""

from collections.abc import Callable

from llamabind.chat.render_limit import check_limit
from llamabind.generation.prompt_requests import RenderedText
from llamabind.native.tokenizer import Tokenizer
from server.protocol.job import Job
from server.protocol.tasks import Detokenize, Render, Rendered, Text, Tokenize, Tokens


class TextTasks:
    """Tokenises, detokenises and renders. Any thread. `render` makes the prompt of a job."""

    def __init__(self, tokenizer: Tokenizer, render: Callable[[Job], RenderedText]) -> None:
        self._tokenizer = tokenizer
        self._render = render

    def perform(self, task: Tokenize | Detokenize | Render) -> Tokens | Text | Rendered:
        """Return the result. Raises LlamaError."""
        match task:
            case Tokenize():
                return self._tokenize(task)
            case Detokenize(tokens):
                return Text(self._tokenizer.decode(tokens, unparse_special=True))
            case Render(job):
                rendered = self._render(job)
                return Rendered(
                    prompt=rendered.text,
                    n_tokens=len(rendered.tokens),
                    warnings=rendered.warnings,
                )

    def _tokenize(self, task: Tokenize) -> Tokens:
        parts = (task.content,) if isinstance(task.content, str) else task.content
        tokens: list[int] = []
        for index, part in enumerate(parts):
            if isinstance(part, str):
                tokens += self._tokenizer.encode(
                    part,
                    add_special=task.add_special and index == 0,
                    parse_special=task.parse_special,
                    check=check_limit,
                )
            else:
                tokens.append(part)
        pieces = [self._tokenizer.piece(token, special=True) for token in tokens]
        # Pieces are made in any case: that refuses tokens outside the vocabulary.
        return Tokens(tokens=tuple(tokens), pieces=tuple(pieces) if task.with_pieces else ())
