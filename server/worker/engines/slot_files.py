"""SlotFiles: saves slot states to files and restores them. Blocks: not on the engine's thread."""

import time
from pathlib import Path

from llamabind import Engine, EngineThread
from llamabind.engine.slot_exchange import SlotExchange
from llamabind.engine.slot_file import read_slot_file, write_slot_file
from llamabind.errors import StateError
from server.protocol.tasks import EraseSlot, RestoreSlot, SaveSlot, SlotMoved


class SlotFiles:
    """Moves slot states between an engine and the disk. Any thread but the engine's.

    The engine's thread only copies memory; the caller's thread reads and writes files.
    """

    def __init__(
        self,
        engine: Engine,
        thread: EngineThread[Engine],
        projector: tuple[str, int] | None = None,
    ) -> None:
        """`projector` is the name and size of its file, if the engine has one."""
        self._thread = thread
        self._exchange = SlotExchange(engine, projector)

    def perform(self, task: SaveSlot | RestoreSlot | EraseSlot) -> SlotMoved:
        """Perform the task; returns counts and time. Raises LlamaError."""
        started = time.perf_counter()
        try:
            n_tokens, n_bytes = self._move(task)
        except MemoryError:
            raise StateError("not enough host memory for a copy of the slot's state") from None
        return SlotMoved(n_tokens, n_bytes, 1e3 * (time.perf_counter() - started))

    def _move(self, task: SaveSlot | RestoreSlot | EraseSlot) -> tuple[int, int]:
        match task:
            case SaveSlot(slot, path):
                return self._save(slot, Path(path))
            case RestoreSlot(slot, path):
                return self._restore(slot, Path(path))
            case EraseSlot(slot):
                call = self._thread.call(lambda _: self._exchange.erase(slot))
                return call.result(), 0

    def _save(self, slot: int, path: Path) -> tuple[int, int]:
        content = self._thread.call(lambda _: self._exchange.take(slot)).result()
        return len(content.tokens), write_slot_file(path, content)

    def _restore(self, slot: int, path: Path) -> tuple[int, int]:
        key, limit = self._thread.call(
            lambda _: (self._exchange.key, self._exchange.max_file_bytes)
        ).result()
        content, n_bytes = read_slot_file(path, key, limit)
        self._thread.call(lambda _: self._exchange.put(slot, content)).result()
        return len(content.tokens), n_bytes
