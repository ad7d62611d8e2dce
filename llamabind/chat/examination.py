"""examine: parses a chat template and learns what it supports, within a limit of time.

llama.cpp renders a template several times to learn that: a template that never ends would hold a
load for ever. The shim limits the memory of these renderings.
"""

import ctypes
import json
import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llamabind._capi import shim
from llamabind._capi.shim_text import last_error, take_text
from llamabind.errors import ChatTemplateError
from llamabind.system.stop_flag import StopFlag

if TYPE_CHECKING:
    from llamabind._capi.handles import ModelHandle
    from llamabind._capi.shim import ChatHandle

Facts: TypeAlias = dict[str, Any]

EXAMINE_SECONDS: Final = 60.0
"""For all renderings of one examination, which usually take less than 0.1 s together."""


def examine(model: "ModelHandle | None", source: bytes | None) -> "tuple[ChatHandle, Facts]":
    """The handle of a template (lb_chat) and the facts of lb_chat_describe. `model` is a handle or
    None. Raises ChatTemplateError, also after EXAMINE_SECONDS.
    """
    examination = _Examination(model, source)
    thread = threading.Thread(target=examination.run, name="chat template", daemon=True)
    thread.start()
    thread.join(EXAMINE_SECONDS)
    return examination.result()


class _Examination:
    """What a thread finds out. The flag ends most renderings; a late result is dropped."""

    def __init__(self, model: "ModelHandle | None", source: bytes | None) -> None:
        self._model = model
        self._source = source
        self._lock = threading.Lock()
        self._found: tuple[ChatHandle, Facts] | None = None
        self._error: BaseException | None = None
        self._is_given_up = False
        self._stop = StopFlag()

    def run(self) -> None:
        """Examine; called on a thread."""
        try:
            found = self._examine()
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error
            return
        with self._lock:
            self._found = found
            if self._is_given_up:
                shim.lb_chat_free(found[0])

    def result(self) -> "tuple[ChatHandle, Facts]":
        """What was found. Raises ChatTemplateError."""
        with self._lock:
            if self._found is not None:
                return self._found
            if self._error is None:
                self._is_given_up = True
                self._stop.set()
                raise ChatTemplateError(
                    f"the chat template did not finish within {EXAMINE_SECONDS:g} s when it was "
                    "rendered to learn what it supports; set another one with chat_template"
                )
        raise self._error

    def _examine(self) -> "tuple[ChatHandle, Facts]":
        stop = ctypes.pointer(ctypes.c_int32.from_buffer(self._stop.value))
        handle = shim.lb_chat_init(self._model, self._source, stop)
        if not handle:
            # The text of the last error belongs to this thread.
            raise ChatTemplateError(last_error())
        facts = shim.lb_chat_describe(handle, stop)
        if not facts:
            error = ChatTemplateError(last_error())
            shim.lb_chat_free(handle)
            raise error
        return handle, json.loads(take_text(facts))
