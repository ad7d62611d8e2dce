"""ModelIndex: every model in the model directories or in memory, by id or alias."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from server.catalogue.catalogue import Catalogue
from server.catalogue.model_file import ModelFile
from server.errors import ModelNotFoundError, UnavailableError
from server.models.entry import ModelEntry

_SUFFIX = ".gguf"
_HOSTS = ("hf.co/", "huggingface.co/")
NewEntry = Callable[[ModelFile], ModelEntry]


class ModelIndex:
    """Looks models up, reading the directories again where needed. Event loop only."""

    def __init__(
        self,
        catalogue: Catalogue,
        new_entry: NewEntry,
        aliases: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`aliases` has the id of each alias; it is called again after a change of presets."""
        self._catalogue = catalogue
        self._new_entry = new_entry
        self._find_aliases = aliases
        self._aliases = dict(aliases())
        # The names by which models were downloaded; the case of the quantisation does not matter.
        self._hub_names: dict[str, str] = {}
        self._entries: dict[str, ModelEntry] = {}
        self._scan: asyncio.Task[None] | None = None
        self._has_read = False

    @property
    def entries(self) -> Iterable[ModelEntry]:
        """The models as of the last read."""
        return self._entries.values()

    def forget(self, model_ids: Iterable[str]) -> None:
        """Drop entries, so that the next read makes them anew with their current settings; none
        of them may be in memory. Aliases are looked up again too.
        """
        self._aliases = dict(self._find_aliases())
        for model_id in model_ids:
            self._entries.pop(model_id, None)

    def get(self, model_id: str) -> ModelEntry | None:
        """The model with this id, as of the last read; aliases are not looked up."""
        return self._entries.get(model_id)

    def aliases_of(self, model_id: str) -> tuple[str, ...]:
        """The aliases of a model."""
        given = [alias for alias, owner in self._aliases.items() if owner == model_id]
        entry = self._entries.get(model_id)
        hub = [] if entry is None else entry.file.aliases
        return (*given, *(name for name in hub if self._hub_names.get(_folded(name)) == model_id))

    def find_known(self, name: str) -> ModelEntry:
        """The model of that id or alias, as of the last read. Raises ModelNotFoundError, or
        UnavailableError before the directories were read for the first time.
        """
        entry = self._lookup(name)
        if entry is not None:
            return entry
        if not self._has_read:
            raise UnavailableError(
                "the model directories have not been read yet; retry in 1 s",
                code="model_not_ready",
                retry_after=1,
            )
        raise ModelNotFoundError(name)

    async def list(self) -> list[ModelEntry]:
        """Every model on disk or in memory, by id."""
        await self._refresh()
        return [entry for _, entry in sorted(self._entries.items())]

    async def find(self, name: str) -> ModelEntry:
        """The model of that id or alias; ids win over aliases. `.gguf` may be left out, as in
        llama-server. Raises ModelNotFoundError.
        """
        # A request for a loaded model must not wait for the disk.
        entry = self._lookup(name)
        if entry is None or not entry.is_in_memory:
            await self._refresh()
            entry = self._lookup(name)
        if entry is None:
            raise ModelNotFoundError(name)
        return entry

    def _lookup(self, name: str) -> ModelEntry | None:
        hub_name = self._hub_names.get(_folded(name), "")
        for one in (name, self._aliases.get(name, ""), f"{name}{_SUFFIX}", hub_name):
            if one in self._entries:
                return self._entries[one]
        return None

    async def _refresh(self) -> None:
        """Read the directories; concurrent callers share one read."""
        if self._scan is None:
            self._scan = asyncio.create_task(self._read_directories())
        await asyncio.shield(self._scan)

    async def _read_directories(self) -> None:
        # The entries are updated in this task too: callers that wait for it find them at once.
        try:
            files = await asyncio.to_thread(self._catalogue.scan)
        finally:
            self._scan = None
        self._has_read = True
        for model_id, file in files.items():
            if model_id in self._entries:
                self._entries[model_id].refresh(file)
            else:
                self._entries[model_id] = self._new_entry(file)
        for model_id in self._entries.keys() - files.keys():
            entry = self._entries[model_id]
            if not entry.is_in_memory and entry.loading is None:
                del self._entries[model_id]
        self._hub_names = {
            _folded(alias): file.id for file in files.values() for alias in file.aliases
        }


def _folded(name: str) -> str:
    """A downloaded model's name, without a host in front, in one case."""
    folded = name.casefold()
    for host in _HOSTS:
        folded = folded.removeprefix(host)
    return folded.removesuffix(":latest")
