"""A grammar of the shim, for tests: the native calls behind a small class."""

import ctypes
import json
from typing import Any, Self

import numpy as np

from llamabind._capi import shim
from llamabind._capi.shim_text import last_error
from llamabind._capi.types import llama_token_data, llama_token_data_array
from llamabind.native.model import Model

JSON_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""


class RefusedError(Exception):
    """The shim refused a grammar; carries its status."""

    def __init__(self) -> None:
        super().__init__(last_error())
        self.status = shim.lb_last_status()


class ShimGrammar:
    """Owns an lb_grammar."""

    def __init__(self, model: Model, grammar: str, **spec: Any) -> None:
        self.model = model
        text = json.dumps({"grammar": grammar, **spec}).encode()
        handle = shim.lb_grammar_init(model.tokenizer.ptr, text)
        if not handle:
            raise RefusedError
        self.handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shim.lb_grammar_free(self.handle)

    def allows(self, token: int) -> bool:
        return shim.lb_grammar_check(self.handle, token) == shim.lb_status.LB_OK

    def accept(self, token: int) -> int:
        return shim.lb_grammar_accept(self.handle, token)

    def accept_text(self, text: str) -> int:
        """Accept a text's tokens; the number of tokens before the first refused one."""
        tokens = self.model.tokenizer.encode(text, add_special=False, parse_special=True)
        for n_accepted, token in enumerate(tokens):
            if self.accept(token) != shim.lb_status.LB_OK:
                return n_accepted
        return len(tokens)

    def allowed(self) -> set[int]:
        """The tokens that lb_grammar_apply leaves."""
        candidates = all_candidates(self.model.n_vocab)
        status = shim.lb_grammar_apply(self.handle, ctypes.byref(candidates))
        if status != shim.lb_status.LB_OK:
            raise RefusedError
        return survivors(candidates)

    def is_complete(self) -> bool:
        return shim.lb_grammar_is_complete(self.handle)

    def is_waiting(self) -> bool:
        return shim.lb_grammar_is_waiting(self.handle)


def all_candidates(n_vocab: int) -> llama_token_data_array:
    """Every token with logit 1."""
    data = (llama_token_data * n_vocab)()
    entries = np.ctypeslib.as_array(data)
    entries["id"], entries["logit"] = np.arange(n_vocab), 1.0
    array = llama_token_data_array()
    array.data = ctypes.cast(data, ctypes.POINTER(llama_token_data))
    array.size, array.selected = n_vocab, -1
    return array


def survivors(candidates: llama_token_data_array) -> set[int]:
    entries = np.ctypeslib.as_array(candidates.data, (candidates.size,))
    return set(entries["id"][entries["logit"] > 0].tolist())
