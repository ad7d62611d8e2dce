"""`python -m tests.support.fake_worker`: a worker process with a scripted engine.

The session, intake and sender are the real ones; there is no native code.

What it does depends on the file it loads and on the last user message:
  a file whose content starts with "FAIL:word"  the load fails with that reason
  "SLOW" / "DIE" / "BUG"                        the load never ends / kills the process / is a bug
  "echo: a b c"                                 answers with the words, one per step
  "forever" / "flood"                           one word per step / a long one, until cancelled
  "long N"                                      a prompt of N tokens
  "echo: <r> hm </r> a"                         with reasoning, and tool calls as <name> {} </name>
  "die" / "break" / "refuse" / "bug"            SIGKILL after some words / the engine fails /
                                                a bad template / an unexpected exception
  "stuck"                                       the prompt is never ready
  "echo: warn"                                  with a warning that its schema is not enforced
  "lora"                                        answers with the scales of its two adapters
  "echo: drafted"                               with draft tokens, and a context that was too small
"""

import argparse
import itertools
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from llamabind.errors import (
    InvalidParameterError,
    ModelLoadError,
    PromptTooLongError,
    TemplateRefusedError,
)
from llamabind.generation.prompt_requests import PromptRequests
from llamabind.request import (
    FinishReason,
    GenerationRequest,
    RequestOutput,
    Timings,
    TokenLogprob,
    Usage,
)
from server.protocol.job import ChatPrompt, Job
from server.protocol.loading import DeviceMemory, Estimate, Estimated, Load, LoadedModel
from server.protocol.messages import Stats
from server.protocol.tasks import (
    AdapterInfo,
    AdapterList,
    Detokenize,
    Embed,
    ListAdapters,
    ListSlots,
    Rank,
    Render,
    Rendered,
    SetAdapters,
    SlotInfo,
    SlotList,
    SlotRequest,
    Task,
    TaskResult,
    Text,
    Tokenize,
    Tokens,
)
from server.worker.engines.adapter_scales import adapter_scales
from server.worker.engines.engine_interface import EngineEvents
from server.worker.session.session import serve
from tests.support.scripted_parser import ScriptedParser
from tests.support.scripted_tasks import move, text_of, vectors

_MIB = 1 << 20
_DEVICES = (DeviceMemory("CPU", "host", 10 * _MIB, 2 * _MIB, _MIB, 1 << 40, 2 << 40),)
# Of models that end with MAPPED: one of them fits into memory.
_MAPPED = (DeviceMemory("CPU", "host", 10 * _MIB, 2 * _MIB, _MIB, 20 * _MIB, 2 << 40, 10 * _MIB),)
N_CTX = 64
BUGGY_N_CTX = 7
STEP_SECONDS = 0.002


class ScriptedEngine:
    def __init__(self, events: EngineEvents, devices: tuple[DeviceMemory, ...]) -> None:
        self._events = events
        self._devices = devices
        self._texts: dict[str, str] = {}
        self._cancelled: dict[str, threading.Event] = {}
        self._going: dict[str, threading.Event] = {}
        self._served = 0
        self._ids = itertools.count()
        self._scales = [1.0, 0.5]
        self._words: dict[int, bytes] = {}
        self._drafted: set[str] = set()

    def describe(self) -> LoadedModel:
        return LoadedModel(
            n_ctx=N_CTX,
            n_batch=32,
            n_parallel=4,
            threads=1,
            memory_bytes=13 << 20,
            devices=self._devices,
            effective={"n_ctx": N_CTX, "n_parallel": 4, "cache_type_k": "f16"},
            description="scripted",
            fingerprint="b1-fake",
            bos_token="<s>",
            eos_token="</s>",
            template_capabilities={"supports_tools": True},
        )

    def prepare(self, job: Job) -> PromptRequests:
        text = text_of(job.prompt)
        if text == "refuse":
            raise TemplateRefusedError("roles must alternate")
        if text == "bug":
            raise KeyError("bug")
        if text.startswith("stuck"):
            threading.Event().wait()
        if text == "lora":
            scales = adapter_scales(job.lora or {}, 2, "lora")
            text = "echo: " + ",".join(map(str, scales))
        n_prompt = int(text.split()[1]) if text.startswith("long") else 5
        return PromptRequests(
            tuple(
                GenerationRequest(
                    request_id=self._new_id(text),
                    prompt_tokens=(1,) * n_prompt,
                    sampling=job.sampling,
                    max_tokens=job.max_tokens,
                    stop=job.stop,
                    logprobs=job.logprobs,
                    prompt_logprobs=job.prompt_logprobs,
                    timings_per_token=job.timings_per_token,
                    return_progress=job.return_progress,
                )
                for _ in range(job.n)
            ),
            ScriptedParser if "<" in text else None,  # type: ignore[arg-type] # a stand-in
            ("json_schema/format is not enforced",) if "warn" in text else (),
        )

    def piece(self, token: int, *, special: bool = True) -> bytes:
        """By its number; as a part of the text the word that it stood for last."""
        return b"<%d>" % token if special else self._words[token]

    def submit(self, request: GenerationRequest) -> None:
        if len(request.prompt_tokens) >= N_CTX:
            raise PromptTooLongError(len(request.prompt_tokens), N_CTX)
        cancelled = self._cancelled[request.request_id] = threading.Event()
        self._going[request.request_id] = threading.Event()
        self._going[request.request_id].set()
        threading.Thread(target=self._answer, args=(request, cancelled), daemon=True).start()

    def perform(self, task: Task) -> TaskResult:
        match task:
            case Tokenize(content=content) if content == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case Tokenize(content=content):
                words = str(content).split()
                pieces = tuple(word.encode() for word in words) if task.with_pieces else ()
                return Tokens(tokens=tuple(range(len(words))), pieces=pieces)
            case ListAdapters() | SetAdapters():
                return self._adapters(task)
            case Render(job):
                assert isinstance(job.prompt, ChatPrompt)
                text = text_of(job.prompt)
                return Rendered(prompt=f"<{text}>", n_tokens=len(text.split()))
            case _:
                pass  # handled below
        if isinstance(task, ListSlots):
            return SlotList(tuple(self._slots()))
        if isinstance(task, Detokenize):
            return Text(" ".join(map(str, task.tokens)))
        return vectors(task) if isinstance(task, Embed | Rank) else move(task)

    def _adapters(self, task: ListAdapters | SetAdapters) -> AdapterList:
        if isinstance(task, SetAdapters):
            if any(number > 1 for number in task.scales):
                raise InvalidParameterError("id", "there is no adapter 2")
            self._scales = [task.scales.get(number, 0.0) for number in range(2)]
        pairs = zip(("a.gguf", "b.gguf"), self._scales, strict=True)
        return AdapterList(tuple(AdapterInfo(name, scale, "task", "") for name, scale in pairs))

    def _slots(self) -> Iterator[SlotInfo]:
        """Two slots: one with the running requests, one with a retained prefix."""
        running = next(iter(self._cancelled), None)
        request = SlotRequest(
            id=int(running or 0),
            n_prompt=5,
            n_computed=5,
            n_cached=2,
            n_generated=3,
            n_remain=7,
            settings={"temperature": 0.5},
        )
        yield SlotInfo(0, 8, None if running is None else request)
        yield SlotInfo(1, 20)

    def cancel(self, request_id: str) -> None:
        if event := self._cancelled.get(request_id):
            event.set()
            self.resume(request_id)

    def pause(self, request_id: str) -> None:
        self._going[request_id].clear()

    def resume(self, request_id: str) -> None:
        self._going[request_id].set()

    def keep_prefixes(self, seconds: float) -> None:
        """It has none."""

    def stats(self) -> Stats:
        return Stats(
            running=len(self._cancelled),
            waiting=0,
            kv_cells_used=0,
            n_ctx=N_CTX,
            prompt_tokens_total=0,
            generated_tokens_total=self._served,
            kv_cells_total=N_CTX,
            kv_cells_running=N_CTX // 4,
            steps_total=self._served,
            longest_sequence=8,
            drafts_total=5,
            draft_tokens_total=20,
            step_seconds=0.25,
            prompt_tokens_per_second=640.0,
            generated_tokens_per_second=12.0,
            accepted_tokens_total=9,
            accepted_per_position=(5, 4),
        )

    def close(self) -> None:
        pass

    def _new_id(self, text: str) -> str:
        request_id = str(next(self._ids))
        self._texts[request_id] = text
        if "drafted" in text:
            self._drafted.add(request_id)
        return request_id

    def _answer(self, request: GenerationRequest, cancelled: threading.Event) -> None:
        text = self._texts.pop(request.request_id)
        words = text.removeprefix("echo: ").split(" ") if text.startswith("echo: ") else ["word"]
        if text == "flood":
            words = ["x" * 100_000]
        endless = text in ("forever", "flood", "die", "break")
        limit = request.max_tokens
        index = 0
        reason = FinishReason.LENGTH if limit == 0 else None
        while reason is None:
            if cancelled.wait(STEP_SECONDS):
                reason = FinishReason.ABORT
                break
            index += 1
            word = ("" if index == 1 else " ") + words[(index - 1) % len(words)]
            if limit is not None and index >= limit:
                # As in the engine: only a complete answer has a further token at its end.
                self._cancelled.pop(request.request_id, None)
                self._emit(request, word, index, FinishReason.LENGTH)
                return
            self._emit(request, word, index)
            # Some steps after the first word, so that the word has been sent.
            if text == "die" and index == 10:
                os.kill(os.getpid(), signal.SIGKILL)
            if text == "break":
                self._events.on_failure(RuntimeError("scripted failure"))
                return
            if not endless and index >= len(words):
                reason = FinishReason.STOP
        self._cancelled.pop(request.request_id, None)
        self._emit(request, "", index, reason)

    def _emit(
        self,
        request: GenerationRequest,
        text: str,
        n_generated: int,
        reason: FinishReason | None = None,
    ) -> None:
        self._going[request.request_id].wait()
        self._served += 1
        usage = Usage(len(request.prompt_tokens), n_generated, 2)
        drafted = request.request_id in self._drafted
        timings = Timings(1.0, 10.0, 20.0, *((9, 6) if drafted else ())) if reason else None
        # Each text has its own token; the token that ends an answer has no text.
        tokens = (n_generated,) if text else ()
        self._words[n_generated] = text.encode()
        logprobs = tuple(
            TokenLogprob(token, -0.5, ((token, -0.5), (99, -1.5))[: request.logprobs])
            for token in tokens
            if request.logprobs is not None
        )
        if request.timings_per_token:
            timings = Timings(1.0, 10.0, 5.0)
        prompt_logprobs: tuple[TokenLogprob, ...] = ()
        if request.prompt_logprobs is not None and n_generated == 1 and text:
            prompt_logprobs = tuple(TokenLogprob(token, -2.0, ((7, -1.0),)) for token in (3, 4))
        output = RequestOutput(
            request.request_id,
            text,
            tokens,
            usage,
            reason,
            timings,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            seq_id=6 if reason else None,
            truncated=drafted,
        )
        self._events.on_step([output])


def scripted_estimate(message: Estimate) -> Estimated:
    tail = Path(message.path).read_bytes()[-64:].split(b"\n")[-1].decode(errors="replace")
    if tail.startswith("FAIL:"):
        raise ModelLoadError(tail.removeprefix("FAIL:"), "scripted failure")
    if tail == "ESTIMATE DIES":
        os.abort()
    if tail == "ESTIMATE BUG":
        raise KeyError("bug")
    if tail == "ESTIMATE SLOW":
        threading.Event().wait()
    # A line for each start of a process, which tests count.
    with Path(message.path).with_suffix(".estimates").open("a") as log:
        log.write("estimate\n")
    devices = _MAPPED if tail == "MAPPED" else _DEVICES
    return Estimated(devices=devices, n_ctx=message.settings.n_ctx or N_CTX, n_gpu_layers=0)


def load_scripted_engine(load: Load, events: EngineEvents) -> ScriptedEngine:
    tail = Path(load.path).read_bytes()[-64:].split(b"\n")[-1].decode(errors="replace")
    print(f"loading {Path(load.path).name}", flush=True)
    if tail.startswith("FAIL:"):
        raise ModelLoadError(tail.removeprefix("FAIL:"), "scripted failure")
    if tail == "DIE":
        print("GGML_ASSERT(scripted) failed", flush=True)
        if "GGML_NO_BACKTRACE" not in os.environ:
            print("#0 what a debugger sees, as ggml_abort prints it", flush=True)
        os.abort()
    if tail == "BUG" or load.settings.n_ctx == BUGGY_N_CTX:
        raise KeyError("bug")
    events.on_progress(0.5)
    if tail == "SLOW":
        threading.Event().wait()
    events.on_progress(1.0)
    return ScriptedEngine(events, _MAPPED if tail == "MAPPED" else _DEVICES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    serve(socket.socket(fileno=parser.parse_args().fd), load_scripted_engine, scripted_estimate)
