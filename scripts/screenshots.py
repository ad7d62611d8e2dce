#!/usr/bin/env python3
"""Makes the screenshots of the web page in docs/images: `python scripts/screenshots.py`.

The server is the real one with scripted workers; the answer is written here. Needs Pillow and all
that tests/browser needs.
"""

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.browser import Watched, browser  # noqa: E402
from tests.support.chat_page import ChatPage  # noqa: E402
from tests.support.gguf_files import write_gguf  # noqa: E402
from tests.support.scripted_server import ScriptedServer  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

IMAGES = ROOT / "docs" / "images"
MODEL = "Qwen3-4B-Q4_K_M.gguf"
COLOURS = 128
QUESTIONS = ("Plan a week of dinners", "A regular expression for ISO dates")
LAST = "Compare quicksort and mergesort, with a table and a short Python example."
ANSWER = """\
Both sort in **O(n log n)** on average. They differ in memory, stability and their worst case.

| | Quicksort | Mergesort |
|---|---|---|
| Worst case | O(n²) | O(n log n) |
| Extra memory | O(log n) | O(n) |
| Stable | no | yes |

1. **Quicksort** if memory is short and the data fits the cache.
2. **Mergesort** if equal elements must keep their order.

```python
def quicksort(items: list[int]) -> list[int]:
    if len(items) < 2:
        return items
    first, *rest = items
    low = [item for item in rest if item < first]
    return quicksort(low) + [first] + quicksort([item for item in rest if item >= first])
```

Python's `sorted()` is stable; use it unless you measure something better.
"""


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_gguf(Path(folder) / MODEL)
        with ScriptedServer(Path(folder)) as server, browser() as chromium:
            watched = Watched(chromium, viewport={"width": 1200, "height": 800})
            page = watched.page
            page.route("**/stream", _fulfil)
            page.goto(server.url)
            chat = ChatPage(page)
            for question in (*QUESTIONS, LAST):
                page.get_by_role("button", name="New chat").click()
                chat.ask(question)
            _save(page, "page-light.png")
            page.emulate_media(color_scheme="dark")
            _save(page, "page-dark.png")
            page.set_viewport_size({"width": 375, "height": 720})
            page.get_by_label("Close the list of chats").click()
            _save(page, "page-phone.png")
            watched.close()


def _save(page: "Page", name: str) -> None:
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("RGB").quantize(COLOURS).save(IMAGES / name, optimize=True)


def _fulfil(route: "Route") -> None:
    route.fulfill(content_type="text/event-stream", body="".join(_events()))


def _events() -> Iterator[str]:
    yield _event({"reasoning_content": "Two algorithms."})
    yield _event({"content": ANSWER})
    timings = {"predicted_per_second": 42.3, "predicted_n": 231, "prompt_n": 20, "cache_n": 96}
    yield _event({"content": ""}, "stop", timings=timings)
    yield "data: [DONE]\n\n"


def _event(delta: dict[str, str], reason: str | None = None, **more: object) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n"


if __name__ == "__main__":
    main()
