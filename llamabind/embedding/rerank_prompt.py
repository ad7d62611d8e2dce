"""RerankPrompt: a query and a document as one reranker input, formatted as in llama-server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llamabind._capi import llama

if TYPE_CHECKING:
    from llamabind.native.model import Model

_PLACEHOLDER = re.compile(r"\{(query|document)\}")


class RerankPrompt:
    """Makes inputs with the model's "rerank" template, or with special tokens if it has none.

    Follows format_prompt_rerank of tools/server/server-common.cpp. Any thread.
    """

    def __init__(self, model: Model) -> None:
        self._tokenizer = model.tokenizer
        template = llama.llama_model_chat_template(model.ptr, b"rerank")
        self._template = None if template is None else template.decode(errors="replace")

    def encode(self, query: str, document: str) -> list[int]:
        """Return the token ids of one pair. Raises TokenizeError."""
        if self._template is not None:
            texts = {"query": query, "document": document}
            # One pass, so that a query which contains "{document}" is not changed.
            text = _PLACEHOLDER.sub(lambda match: texts[match[1]], self._template)
            return self._tokenizer.encode(text, add_special=False, parse_special=True)
        encode, special = self._tokenizer.encode, self._tokenizer.special
        begin = [special.bos] if self._tokenizer.add_bos else []
        end = []
        if self._tokenizer.add_eos:
            end = [special.sep if special.eos is None else special.eos]
        between = [*end, *([special.sep] if self._tokenizer.add_sep else [])]
        tokens = [
            *begin,
            *encode(query, add_special=False),
            *between,
            *encode(document, add_special=False),
            *end,
        ]
        return [token for token in tokens if token is not None]
