"""ModelIndex: callers that arrive while a scan ends see its result."""

import asyncio
from pathlib import Path
from typing import Any, cast

from server.catalogue.catalogue import Catalogue
from server.catalogue.model_file import ModelFile
from server.models.entry import ModelEntry
from server.models.index import ModelIndex
from tests.support.gguf_files import write_gguf


class _Entry:
    """The part of ModelEntry that the index uses."""

    is_in_memory = False
    loading = None

    def __init__(self, file: ModelFile) -> None:
        self.id = file.id

    def refresh(self, file: ModelFile) -> None:
        pass


def _make_index(folder: Path) -> ModelIndex:
    new_entry = cast("Any", _Entry)
    return ModelIndex(Catalogue([folder]), new_entry)


async def test_a_caller_that_arrives_as_a_scan_ends_gets_its_models(
    tmp_path: Path,
) -> None:
    write_gguf(tmp_path / "m.gguf")
    for _ in range(20):
        index = _make_index(tmp_path)
        asked: list[asyncio.Task[list[ModelEntry]]] = [asyncio.create_task(index.list())]
        while not asked[0].done():
            asked.append(asyncio.create_task(index.list()))
            await asyncio.sleep(0)
        for answer in await asyncio.gather(*asked):
            assert [entry.id for entry in answer] == ["m.gguf"]
