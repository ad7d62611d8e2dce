"""LlamaEngine: a WorkerEngine for a model that generates text."""

from concurrent.futures import Future
from typing import TYPE_CHECKING

from llamabind import Engine, EngineThread, GenerationRequest
from llamabind.generation.prompt_requests import PromptRequests
from llamabind.generation.prompter import Prompter
from server.protocol.job import Job
from server.protocol.loading import LoadedModel
from server.protocol.messages import Stats
from server.protocol.tasks import (
    Detokenize,
    Embed,
    EraseSlot,
    Rank,
    Render,
    RestoreSlot,
    SaveSlot,
    Task,
    TaskResult,
    Tokenize,
)
from server.worker.engines.engine_interface import EngineEvents
from server.worker.engines.engine_tasks import EngineTasks
from server.worker.engines.media_encoder import MediaEncoder
from server.worker.engines.request_maker import RequestMaker
from server.worker.engines.side_embeddings import SideEmbeddings
from server.worker.engines.slot_files import SlotFiles
from server.worker.engines.text_tasks import TextTasks

if TYPE_CHECKING:
    from llamabind import Projector
    from llamabind.disk_cache.disk_cache import DiskCache


class LlamaEngine:
    """A loaded model with its engine thread. Any thread.

    `projector` encodes images and audio, if the model was loaded with one; `embeddings` computes
    embeddings beside the chats.
    """

    def __init__(
        self,
        engine: Engine,
        events: EngineEvents,
        loaded: LoadedModel,
        embeddings: SideEmbeddings,
        projector: "Projector | None" = None,
    ) -> None:
        self._engine = engine
        self._loaded = loaded
        self.projector = projector
        self._embeddings = embeddings
        prompter = Prompter(
            engine.tokenizer, engine.chat_template, engine.shape.n_ctx, engine.check_grammar
        )
        media = MediaEncoder(projector, n_ctx=engine.shape.n_ctx, n_ubatch=engine.context.n_ubatch)
        self._requests = RequestMaker(prompter, engine.tokenizer, media, len(engine.adapters))
        self._texts = TextTasks(engine.tokenizer, self._requests.render)
        self._thread = EngineThread(engine, events.on_step, events.on_failure)
        self._tasks = EngineTasks(self._thread)
        file = None if projector is None else (projector.path.name, projector.size_bytes)
        self._slot_files = SlotFiles(engine, self._thread, file)
        self._disk_cache = _open_disk_cache(engine, self._thread, projector)

    def describe(self) -> LoadedModel:
        """The effective settings and sizes."""
        return self._loaded

    def prepare(self, job: Job) -> PromptRequests:
        """Render and tokenise. Raises LlamaError."""
        return self._requests.make(job)

    def piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of a token; special ones as they are written, or empty without `special`."""
        return self._engine.tokenizer.piece(token, special=special)

    def submit(self, request: GenerationRequest) -> None:
        """Start a request; its outputs come through `on_step`. Raises LlamaError."""
        self._thread.submit(request)

    def perform(self, task: Task) -> TaskResult | Future[TaskResult]:
        """Perform a task, on the engine's thread if it needs that. Raises LlamaError."""
        match task:
            case Tokenize() | Detokenize() | Render():
                return self._texts.perform(task)
            case Embed() | Rank():
                return self._embeddings.perform(task)
            case SaveSlot() | RestoreSlot() | EraseSlot():
                return self._slot_files.perform(task)
            case _:
                return self._tasks.perform(task)

    def cancel(self, request_id: str) -> None:
        """End a request at the next step."""
        self._thread.cancel(request_id)

    def pause(self, request_id: str) -> None:
        """Compute nothing for a request from the next step on, until `resume`."""
        self._thread.pause(request_id)

    def resume(self, request_id: str) -> None:
        """Continue a paused request."""
        self._thread.resume(request_id)

    def stats(self) -> Stats:
        """A snapshot."""
        stats, disk = self._thread.stats, self._disk_cache
        return Stats(
            running=stats.running,
            waiting=stats.waiting,
            paused=stats.paused,
            kv_cells_used=stats.cells_used,
            kv_cells_running=stats.cells_running,
            n_ctx=self._engine.shape.n_ctx,
            prompt_tokens_total=stats.prompt_tokens,
            generated_tokens_total=stats.generated_tokens,
            kv_cells_total=stats.cells_total,
            cached_tokens_total=stats.cached_tokens,
            steps_total=stats.steps,
            sequence_steps_total=stats.sequence_steps,
            longest_sequence=stats.longest_sequence,
            cache_ram_bytes=stats.cache_ram_bytes,
            cache_disk_bytes=0 if disk is None else disk.n_bytes,
            cache_disk_reads_total=0 if disk is None else disk.n_reads,
            cache_disk_writes_total=0 if disk is None else disk.n_writes,
            step_seconds=stats.rates.step_seconds,
            prompt_tokens_per_second=stats.rates.prompt_tokens_per_second,
            generated_tokens_per_second=stats.rates.generated_tokens_per_second,
            drafts_total=stats.speculation.drafts,
            draft_tokens_total=stats.speculation.draft_tokens,
            accepted_tokens_total=stats.speculation.accepted_tokens,
            accepted_per_position=stats.speculation.accepted_per_position,
        )

    def keep_prefixes(self, seconds: float) -> None:
        """Write the prefixes that are in no file yet, with a cache_dir, for about `seconds`."""
        if self._disk_cache is not None:
            self._disk_cache.close(seconds)

    def close(self) -> None:
        """Cancel all requests, deliver the last outputs, end the thread and free the model."""
        self.keep_prefixes(0)
        self._embeddings.close()
        self._thread.close()
        self._engine.close()


def _open_disk_cache(
    engine: Engine, thread: EngineThread[Engine], projector: "Projector | None"
) -> "DiskCache | None":
    if engine.config.cache_dir is None:
        return None
    # Here, because most servers do without.
    from llamabind.disk_cache.disk_cache import open_disk_cache
    from llamabind.system.file_fingerprint import FileStamp

    return open_disk_cache(
        engine, thread, None if projector is None else FileStamp.of(projector.path)
    )
