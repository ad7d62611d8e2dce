"""The process that self_test starts: it computes the bundled model and prints the result as JSON.

It computes one batch of 64 prompt tokens and then single tokens, since the two use different
kernels. The correct result is in models/tiny-chat.known.json (scripts/make_known_answers). CPUs and
devices differ in the last bits of a logit, so only positions count whose best token leads the
second by `_MIN_MARGIN`: rounding cannot move a logit that far, and a wrong kernel is unlikely to
get all of these positions right.
"""

import argparse
import atexit
import ctypes
import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from llamabind._capi import enums, ggml, llama, shim, types
from llamabind._capi.loader import load_backend_modules
from llamabind.errors import LibraryError, LlamaError, UnsupportedCpuError
from llamabind.self_test import FAILED, OK, UNTESTABLE, DeviceSpeed, SelfTestResult

MODEL: Final = Path(__file__).parent / "models" / "tiny-chat.gguf"
KNOWN: Final = MODEL.with_suffix(".known.json")

_MIN_MARGIN: Final = 1.0
_N_CTX: Final = 256
_TIMED_TOKENS: Final = 64
# Libraries of GPU drivers, which a machine that only builds may lack.
_DRIVER: Final = re.compile(
    r"(lib(?:cuda|nvidia-ml|amdhip64|hsa-runtime64|ze_loader|OpenCL|vulkan|musa|ascendcl)\.so[\w.]*)"
    r": cannot open shared object file"
)
_GPUS: Final = (1, 2)  # GPU and IGPU of enum ggml_backend_dev_type
_ERROR: Final = 4  # GGML_LOG_LEVEL_ERROR


class Known(NamedTuple):
    """The known answers: the prompt, the best token after each of its tokens, and the whole answer.

    `margins` are the differences between the logits of the best and the second-best token.
    """

    model_sha256: str
    prompt: list[int]
    best: list[int]
    margins: list[float]
    answer: list[int]
    answer_text: str


class WrongAnswerError(Exception):
    """A device computed a wrong result; the message says which token is wrong."""


class NoAnswerError(Exception):
    """A device cannot compute at all; the build may still be correct (a GPU that is in use)."""


def read_known(path: Path) -> Known:
    """Read the file of known answers."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Known(**{name: fields[name] for name in Known._fields})


def check_everything(model: Path, known: Known) -> SelfTestResult:
    """Compute the model on the CPU, then on every GPU, and compare with the known answers."""
    if hashlib.sha256(model.read_bytes()).hexdigest() != known.model_sha256:
        return SelfTestResult(
            UNTESTABLE, f"the known answers were made with a different file than {model}"
        )
    try:
        gpus = _start()
    except LibraryError as error:
        return _unloadable(error)
    speeds = []
    problems = []
    for name in ("CPU", *gpus):
        try:
            speeds.append(_check_device(model, known, name))
        except WrongAnswerError as error:
            return SelfTestResult(FAILED, f"computes wrong results on {name}: {error}")
        except (NoAnswerError, LlamaError) as error:
            if name == "CPU":
                return SelfTestResult(FAILED, f"does not compute on the CPU: {error}")
            problems.append(f"{name} was not tested: {error}")
    return SelfTestResult(OK, "; ".join(problems), tuple(speeds))


def _start() -> list[str]:
    """Start llama.cpp with a log of errors only, and return the names of the GPUs."""
    llama.llama_log_set(_on_log_line, None)
    atexit.register(
        lambda: llama.llama_log_set(types.ggml_log_callback(), None)
    )  # the callback is freed with the interpreter, before llama.cpp ends
    load_backend_modules()
    llama.llama_backend_init()
    devices = map(ggml.ggml_backend_dev_get, range(ggml.ggml_backend_dev_count()))
    found = [device for device in devices if int(ggml.ggml_backend_dev_type(device)) in _GPUS]
    return [ggml.ggml_backend_dev_name(device).decode() for device in found]


@types.ggml_log_callback
def _on_log_line(level: int, text: bytes | None, _user_data: int | None) -> None:
    if level == _ERROR and text:
        sys.stderr.write(text.decode(errors="replace"))


def _unloadable(error: LibraryError) -> SelfTestResult:
    driver = _DRIVER.search(str(error))
    if isinstance(error, UnsupportedCpuError):
        return SelfTestResult(UNTESTABLE, str(error))
    if driver:
        missing = f"{driver[1]}, which is part of a GPU driver, is not on this machine"
        return SelfTestResult(UNTESTABLE, f"the libraries cannot be loaded: {missing}")
    return SelfTestResult(FAILED, f"cannot load the libraries: {error}")


def _check_device(model: Path, known: Known, device: str) -> DeviceSpeed:
    with loaded(model, device) as (context, n_vocab):
        began = time.perf_counter()
        decode(context, known.prompt, 0)
        prompt_seconds = time.perf_counter() - began
        _compare_prompt(context, n_vocab, known)
        token = _best(context, len(known.prompt) - 1, n_vocab)
        answer = [token]
        position = len(known.prompt)
        while len(answer) < len(known.answer):
            decode(context, [token], position)
            token = _best(context, 0, n_vocab)
            answer.append(token)
            position += 1
        if answer != known.answer:
            raise WrongAnswerError(
                f"the answer has the tokens {answer}; correct is {known.answer} "
                f'("{known.answer_text}")'
            )
        began = time.perf_counter()
        for offset in range(_TIMED_TOKENS):
            decode(context, [known.answer[0]], position + offset)
        seconds = time.perf_counter() - began
    return DeviceSpeed(
        device,
        round(len(known.prompt) / max(prompt_seconds, 1e-9), 1),
        round(_TIMED_TOKENS / max(seconds, 1e-9), 1),
    )


def _compare_prompt(context: types.ContextHandle, n_vocab: int, known: Known) -> None:
    for index, (best, margin) in enumerate(zip(known.best, known.margins, strict=True)):
        if margin < _MIN_MARGIN:
            continue
        found = _best(context, index, n_vocab)
        if found != best:
            raise WrongAnswerError(
                f"the most likely token after token {index} of {len(known.prompt)} is {found}; "
                f"correct is {best}"
            )


def _best(context: types.ContextHandle, index: int, n_vocab: int) -> int:
    row = logits(context, index, n_vocab)
    return max(range(n_vocab), key=row.__getitem__)


def logits(context: types.ContextHandle, index: int, n_vocab: int) -> list[float]:
    """Return the n_vocab logits after the token at `index` of the last batch."""
    row = llama.llama_get_logits_ith(context, index)
    if ctypes.cast(row, ctypes.c_void_p).value is None:
        raise WrongAnswerError(f"llama.cpp returned no logits for token {index}")
    values: list[float] = row[:n_vocab]
    if not all(map(math.isfinite, values)):
        raise WrongAnswerError(f"the logits of token {index} are not all finite")
    return values


@contextmanager
def loaded(model: Path, device: str) -> Iterator[tuple[types.ContextHandle, int]]:
    """Yield n_vocab and a context on the device, with the kernels that the engine uses there."""
    is_cpu = device == "CPU"
    devices = (ctypes.c_void_p * 2)(
        None if is_cpu else ggml.ggml_backend_dev_by_name(device.encode()), None
    )
    model_params = llama.llama_model_default_params()
    model_params.n_gpu_layers = 0 if is_cpu else 999
    model_params.devices = ctypes.cast(devices, ctypes.POINTER(ctypes.c_void_p))
    model_handle = llama.llama_model_load_from_file(os.fsencode(model), model_params)
    if not model_handle:
        raise NoAnswerError(f"{model.name} cannot be loaded")
    try:
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = _N_CTX
        # ggml's threads busy-wait for each other: on a machine that is busy compiling, two threads
        # take a hundred times as long as one.
        params.n_threads = params.n_threads_batch = 1
        kernels = None if is_cpu and not _has_gpu() else b"ggml"
        context = shim.lb_context_init(
            model_handle, ctypes.byref(params), kernels, kernels, False, -1
        )
        if not context:
            raise NoAnswerError("the context cannot be made; the usual cause is too little memory")
        try:
            yield context, llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model_handle))
        finally:
            shim.lb_context_free(context)
    finally:
        llama.llama_model_free(model_handle)


def _has_gpu() -> bool:
    """As native.backend.has_gpu: llama_supports_gpu_offload is true in every build with RPC."""
    kinds = enums.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return any(ggml.ggml_backend_dev_by_type(kind) for kind in gpus)


def decode(context: types.ContextHandle, tokens: Sequence[int], first: int) -> None:
    """Compute tokens at the positions `first`, `first` + 1, ..., with logits for all of them."""
    count = len(tokens)
    batch = llama.llama_batch_init(count, 0, 1)
    try:
        batch.n_tokens = count
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = first + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = 1
        code = llama.llama_decode(context, batch)
    finally:
        llama.llama_batch_free(batch)
    if code != 0:
        raise NoAnswerError(f"llama_decode returns {code} for {count} tokens")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result as one JSON document; exit with 0 whatever the result is."""
    parser = argparse.ArgumentParser(prog="python -m llamabind.self_test_run")
    parser.add_argument("--known", type=Path, default=KNOWN, help="file of known answers")
    options = parser.parse_args(arguments)
    answer: dict[str, Any] = asdict(check_everything(MODEL, read_known(options.known)))
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
