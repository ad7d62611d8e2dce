"""The shelf of models, as who asks in unlucky moments sees it."""

import asyncio
from pathlib import Path
from typing import Any, cast

from server.catalogue.catalogue import Catalogue, ModelFile
from server.models.entry import ModelEntry
from server.models.index import ModelIndex
from tests.support.gguf_files import write_gguf


class _Entry:
    """As much of a ModelEntry as a shelf looks at."""

    is_in_memory = False
    loading = None

    def __init__(self, file: ModelFile) -> None:
        self.id = file.id

    def refresh(self, file: ModelFile) -> None:
        pass


def _make_shelf(folder: Path) -> ModelIndex:
    new_entry = cast("Any", _Entry)
    return ModelIndex(Catalogue([folder]), new_entry)


async def test_who_asks_in_the_round_in_which_a_scan_ends_sees_what_it_found(
    tmp_path: Path,
) -> None:
    write_gguf(tmp_path / "m.gguf")
    for _ in range(20):
        index = _make_shelf(tmp_path)
        asked: list[asyncio.Task[list[ModelEntry]]] = [asyncio.create_task(index.list())]
        while not asked[0].done():
            asked.append(asyncio.create_task(index.list()))
            await asyncio.sleep(0)
        for answer in await asyncio.gather(*asked):
            assert [entry.id for entry in answer] == ["m.gguf"]
