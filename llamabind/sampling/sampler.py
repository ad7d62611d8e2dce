"""Sampler: chooses the next tokens of one sequence with a sampler chain and an optional grammar."""

import ctypes
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from llamabind._capi import llama, shim
from llamabind._capi.shim import GrammarHandle, GuardedSamplerHandle, lb_status
from llamabind._capi.shim_text import last_error
from llamabind.errors import GrammarError, InvalidParameterError, LlamaError, TokenizeError
from llamabind.native.handle import Handle
from llamabind.sampling.chain import build_chain, min_p_limit, n_best
from llamabind.sampling.params import GrammarTrigger, SamplingParams

if TYPE_CHECKING:
    from llamabind.context.context import Context
    from llamabind.native.model import Model

_MIN_HISTORY = 4096
_MAX_HISTORY = 1 << 20
_GRAMMAR_FAILURES = (
    lb_status.LB_TOKEN_REFUSED,
    lb_status.LB_GRAMMAR_DEAD_END,
    lb_status.LB_GRAMMAR_TOO_COSTLY,
)


class Sampler(Handle[GuardedSamplerHandle]):
    """The sampling state of one sequence (lb_sampler of csrc/llamabind.h). One thread at a time.

    It belongs to the model, not to a context; samplers of different sequences may run on different
    threads.
    """

    def __init__(
        self, model: "Model", params: SamplingParams | None = None, *, n_ctx: int | None = None
    ) -> None:
        """Build the chain and parse the grammar.

        `n_ctx` (default: the model's training context) limits in tokens how far penalties look
        back. Raises GrammarError for a grammar or trigger that llama.cpp refuses,
        InvalidParameterError for a logit bias of an unknown token.
        """
        self.model = model
        self.params = params or SamplingParams()
        n_history = n_ctx or max(model.n_ctx_train, _MIN_HISTORY)
        super().__init__(_make(model, self.params, min(n_history, _MAX_HISTORY)), model)
        self.reads_all = not n_best(model, self.params)
        """Whether the samplers read the logits of the whole vocabulary."""

    def sample(self, context: "Context", index: int = -1, *, accept: bool = True) -> int:
        """Return a token for the output of the batch's token `index` in the last decode.

        With `accept` the token also counts as generated: see accept(). Raises GrammarError when no
        token of the vocabulary can continue the grammar.
        """
        if context.model is not self.model:
            raise InvalidParameterError("context", "it belongs to another model than the sampler")
        [token] = sample_many([self], [context.logits_ptr(index)], accept=accept)
        if isinstance(token, LlamaError):
            raise token
        return token

    def accept(self, token: int, *, is_generated: bool = True) -> None:
        """Count a token for penalties and, if it was generated, advance the grammar.

        Pass prompt tokens with `is_generated` False. Raises GrammarError when the grammar does not
        allow the token; the sampler is then unchanged.
        """
        if not 0 <= token < self.model.n_vocab:
            raise TokenizeError(f"token {token} is not in 0..{self.model.n_vocab - 1}")
        _check(shim.lb_sampler_accept(self.ptr, token, is_generated))

    def reset(self) -> None:
        """Forget all tokens and restart the grammar and the seeded random numbers."""
        _check(shim.lb_sampler_reset(self.ptr))

    def clone(self) -> Self:
        """Return an independent copy in the same state, including that of the random numbers."""
        handle = shim.lb_sampler_clone(self.ptr)
        if not handle:
            raise _error(shim.lb_last_status())
        copy = object.__new__(type(self))
        copy.model, copy.params, copy.reads_all = self.model, self.params, self.reads_all
        Handle.__init__(copy, handle, self.model)
        return copy

    def _free(self, handle: GuardedSamplerHandle) -> None:
        shim.lb_sampler_free(handle)


def sample_many(
    samplers: Sequence[Sampler],
    logits_pointers: Sequence[int],
    *,
    accept: bool = True,
    n_threads: int = 1,
) -> list[int | LlamaError]:
    """Sample one token for each of several sequences, in one native call.

    `logits_pointers` come from Context.logits_ptr after the last decode; the samplers are distinct
    and of the same model. The result has a GrammarError for a sequence whose grammar no token can
    continue (a plain LlamaError for any other failure); the other sequences still get tokens.
    """
    n = len(samplers)
    if n == 0:
        return []
    assert n == len(logits_pointers), "one logits pointer for each sampler"
    tokens = (ctypes.c_int32 * n)()
    statuses = (ctypes.c_int32 * n)()
    status = shim.lb_sample(
        (ctypes.c_void_p * n)(*[sampler.ptr for sampler in samplers]),
        (ctypes.c_void_p * n)(*logits_pointers),
        n,
        samplers[0].model.n_vocab,
        accept,
        n_threads,
        tokens,
        statuses,
    )
    if status == lb_status.LB_OK:
        return list(tokens)
    return [
        token if code == lb_status.LB_OK else _sampling_error(code)
        for token, code in zip(tokens, statuses, strict=True)
    ]


def _make(model: "Model", params: SamplingParams, n_history: int) -> GuardedSamplerHandle:
    vocab = model.tokenizer.ptr
    chain = build_chain(model, params, n_history)
    grammar = None
    try:
        grammar = _make_grammar(model, params)
        handle = shim.lb_sampler_init(vocab, chain, grammar)
        if not handle:
            raise _error(shim.lb_last_status())
        shim.lb_sampler_set_n_best(handle, n_best(model, params))
        if (limit := min_p_limit(model, params)) is not None:
            shim.lb_sampler_set_min_p(handle, *limit)
    except LlamaError:
        llama.llama_sampler_free(chain)
        shim.lb_grammar_free(grammar)
        raise
    if params.follows_reasoning:
        _track_reasoning(handle, params)
    return handle


def _track_reasoning(handle: GuardedSamplerHandle, params: SamplingParams) -> None:
    spec = {
        "start": params.reasoning_budget_start_tag,
        "ends": params.reasoning_budget_end_tags,
        "budget": params.reasoning_budget_tokens,
        "message": params.reasoning_budget_message,
        "prompt_end": params.generation_prompt,
    }
    if shim.lb_sampler_track_reasoning(handle, json.dumps(spec).encode()) != lb_status.LB_OK:
        error = _error(shim.lb_last_status())
        shim.lb_sampler_free(handle)
        raise error


def _make_grammar(model: "Model", params: SamplingParams) -> GrammarHandle | None:
    if not params.grammar:
        return None
    spec = {
        "grammar": params.grammar,
        "root": params.grammar_root,
        "lazy": params.grammar_lazy,
        "triggers": [_trigger(trigger) for trigger in params.grammar_triggers],
        "prefill": params.grammar_prefill,
    }
    grammar = shim.lb_grammar_init(model.tokenizer.ptr, json.dumps(spec).encode())
    if not grammar:
        raise GrammarError(last_error())
    return grammar


def check_grammar(model: "Model", params: SamplingParams) -> None:
    """Raise GrammarError if a sampler with these parameters would refuse their grammar."""
    shim.lb_grammar_free(_make_grammar(model, params))


def _trigger(trigger: GrammarTrigger) -> dict[str, str | int]:
    if trigger.token is None:
        return {"type": trigger.kind, "value": trigger.value}
    return {"type": trigger.kind, "value": trigger.value, "token": trigger.token}


def _check(status: int) -> None:
    if status != lb_status.LB_OK:
        raise _error(status)


def _error(status: int) -> LlamaError:
    if status in _GRAMMAR_FAILURES:
        return GrammarError(last_error())
    return LlamaError(last_error())


def _sampling_error(status: int) -> LlamaError:
    # lb_last_error describes only the first failure, so the texts of known codes stand here.
    if status == lb_status.LB_GRAMMAR_DEAD_END:
        return GrammarError("no token of the vocabulary can continue the grammar")
    if status == lb_status.LB_GRAMMAR_TOO_COSTLY:
        return GrammarError(
            "the grammar is too ambiguous: finding the tokens that it allows here exceeds the "
            "limit of work for one token; write it with fewer alternatives"
        )
    return LlamaError(f"sampling failed: {last_error()}")
