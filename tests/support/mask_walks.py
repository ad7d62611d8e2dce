"""Answers made at random of the tokens that a schema's masks allow."""

import json
import random
from datetime import datetime, time
from typing import Any

import numpy as np
from jsonschema import FormatChecker
from jsonschema.validators import Draft202012Validator

from llamabind.generation.answer_masks import AnswerMasks, AnswerSchema
from llamabind.native.tokenizer import Tokenizer
from llamabind.sampling.token_mask import SequenceMask, TokenMasks

# The library checks these by itself, but the next two only with more packages installed.
FORMATS = FormatChecker(("date", "uuid", "ipv4", "ipv6", "email"))
_MAX_TOKENS = 2000
_ENDS = (b'"', b"}", b"]")


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or (
        value[10:11] == "T" and datetime.fromisoformat(value).tzinfo is not None
    )


@FORMATS.checks("time", raises=ValueError)  # type: ignore[untyped-decorator]
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or time.fromisoformat(value).tzinfo is not None


def why_invalid(schema: Any, text: str) -> str:
    """Why a text is not JSON that follows the schema; "" if it is."""
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    return "; ".join(error.message for error in validator.iter_errors(document))


class Walker:
    """Random answers in one vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._answers = AnswerMasks(tokenizer)
        self._masks = TokenMasks.of(tokenizer)
        ends = [t for t in range(tokenizer.n_tokens) if tokenizer.piece(t) in _ENDS]
        self._ends = [*ends, *tokenizer.eog_tokens]

    def start(self, schema: Any, *, is_lenient: bool = False) -> tuple[SequenceMask, list[str]]:
        """The mask of a new answer, and the warnings."""
        mask, warnings = self._answers.of_text(AnswerSchema(schema, is_lenient))
        return self._masks.start(mask), list(warnings)

    def answer(
        self, schema: Any, seed: int, *, is_lenient: bool = False, must_end: bool = True
    ) -> str:
        """An answer of tokens chosen at random, those that end something more often."""
        source = random.Random(seed)
        mask, _ = self.start(schema, is_lenient=is_lenient)
        tokens: list[int] = []
        while len(tokens) < _MAX_TOKENS:
            row = self._masks.rows([mask])[0]
            assert not mask.why_failed(), (mask.why_failed(), schema)
            ends = [token for token in self._ends if row[token]]
            allowed = np.flatnonzero(row)
            assert len(allowed), (schema, self._text(tokens))
            is_end = ends and source.random() < (0.4 if len(tokens) < 100 else 0.95)
            token = source.choice(ends) if is_end else int(source.choice(allowed))
            if token in self._tokenizer.eog_tokens:
                return self._text(tokens)
            assert mask.accept(token)
            tokens.append(token)
        assert not must_end, f"no end after {_MAX_TOKENS} tokens: {self._text(tokens)[:300]}"
        return self._text(tokens)

    def allows(self, schema: Any, text: str) -> bool:
        """Whether the text may be the whole answer."""
        mask, _ = self.start(schema)
        for token in self._tokenizer.encode(text, add_special=False):
            if not mask.accept(token):
                return False
        return bool(self._masks.rows([mask])[0][list(self._tokenizer.eog_tokens)].any())

    def _text(self, tokens: list[int]) -> str:
        return b"".join(map(self._tokenizer.piece, tokens)).decode()
