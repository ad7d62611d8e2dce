"""PrefixStore: the files of one engine's prefixes, and their index."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llamabind.disk_cache.folder import PrefixFile, PrefixFolder
from llamabind.disk_cache.index import PrefixEntry, PrefixIndex
from llamabind.disk_cache.prefix_exchange import PrefixExchange
from llamabind.disk_cache.prefix_key import PARTIAL, PrefixKeys
from llamabind.engine.slot_exchange import SlotExchange
from llamabind.errors import StateError

if TYPE_CHECKING:
    from array import array

    from llamabind.context.saved_state import SavedState
    from llamabind.engine.engine import Engine
    from llamabind.engine.slot_file import SlotContent
    from llamabind.engine.thread import EngineThread
    from llamabind.system.file_fingerprint import FileStamp

_MIB: Final = 1 << 20


class PrefixStore:
    """Reads and writes the files. Blocks, so the engine's thread uses only `exchange`."""

    def __init__(
        self, engine: Engine, thread: EngineThread[Engine], projector: FileStamp | None = None
    ) -> None:
        """Open the engine's `cache_dir`. Raises OSError.

        `projector` is the file that encodes the engine's images and audio.
        """
        config, shape = engine.config, engine.shape
        assert config.cache_dir is not None, "made for engines with a cache_dir only"
        fingerprints = [stamp.fingerprint() for stamp in engine.files]
        encoder = (projector.fingerprint(), projector.size) if projector is not None else None
        self._slots = SlotExchange(engine, encoder)
        # On the engine's thread, since it asks the context.
        make_keys = partial(PrefixKeys, exchange=self._slots, fingerprints=fingerprints)
        self._keys = thread.call(make_keys).result()
        self._folder = PrefixFolder(Path(config.cache_dir), config.cache_disk_mib * _MIB)
        self.index = PrefixIndex(
            is_cuttable=shape.is_cuttable, has_partial=shape.is_checkpoint_partial
        )
        self.exchange = PrefixExchange(engine, self.index, self._keys, encoder)
        self._foreign: set[str] = set()
        self._sync()

    def latest(self, scales: tuple[float, ...]) -> list[PrefixEntry]:
        """Return the whole states computed with these scales, most recently used first."""
        return self.index.latest(self._keys.of(scales if any(scales) else ()))

    def read(self, entry: PrefixEntry) -> SavedState | None:
        """Return the state of a file; None if it is missing or damaged, and then not indexed."""
        content = self._folder.read(entry.name, entry.key)
        if content is None:
            self.index.remove(entry.name)
            return None
        if bool(content.state.flags) != entry.is_partial or not content.state.is_sequence:
            self.discard(entry)
            return None
        return content.state

    def discard(self, entry: PrefixEntry) -> None:
        """Remove a file that is of no use."""
        self.index.remove(entry.name)
        self._folder.remove(entry.name)

    def write(self, content: SlotContent) -> bool:
        """Write a file, and remove those that it replaces.

        False if it is larger than the limit of the directory. Raises OSError.
        """
        file = self._folder.write(self._keys.name_of(content), content)
        if file is not None:
            entry = _entry(file, content.key, content.tokens)
            for old in self.index.superseded(entry):
                self.index.remove(old)
                self._folder.remove(old)
            self.index.add(entry)
        self._sync()
        return file is not None

    def note_use(self, names: set[str]) -> None:
        """Set the last use of files to now, so that older files are removed first."""
        for name in names:
            self._folder.touch(name)

    def close(self) -> None:
        """Close the directory."""
        self._folder.close()

    def _sync(self) -> None:
        """Add the files of other processes to the index; forget those that are gone."""
        files = {file.name: file for file in self._folder.files(self._keys.prefix)}
        known = self.index.names
        for name in known - files.keys():
            self.index.remove(name)
        self._foreign &= files.keys()
        for name in files.keys() - known - self._foreign:
            head = self._folder.read_head(name)
            if head is None:
                continue
            try:
                tokens = self._slots.tokens_of(head)
            except StateError:
                # It has media of another projector, which another process may use.
                self._foreign.add(name)
                continue
            self.index.add(_entry(files[name], head.key, tokens))


def _entry(file: PrefixFile, key: bytes, tokens: array[int]) -> PrefixEntry:
    is_partial = file.name.endswith(PARTIAL)
    return PrefixEntry(file.name, key, tokens, is_partial, file.n_bytes, file.used_at)
