"""check_companions: what is wrong with a template and with the files beside a model, before a load.

So that a model that works is not given up for them, and that the right field is blamed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llamabind import ChatTemplate, Model, ModelParams, read_gguf_header
from llamabind.errors import InvalidParameterError, LlamaError
from llamabind.gguf.adapter_header import check_adapter_header, check_adapter_shapes
from llamabind.gguf.header import read_gguf_shapes
from llamabind.media.projector import check_projector
from llamabind.native.load_failure import shards
from llamabind.speculation.draft_vocabulary import check_draft_vocabulary
from server.protocol.messages import Estimate


def check_companions(message: Estimate) -> None:
    """Raise InvalidParameterError, which names the field; nothing is loaded but vocabularies."""
    template, files = message.settings.chat_template, message.files
    if template is not None:
        with blamed_on("chat_template"):
            ChatTemplate(None, template).close()
    if files.lora:
        _check_adapters(message)
    if files.draft_model is not None:
        with blamed_on("draft_model"):
            _check_draft(message.path, files.draft_model)
    if files.mmproj is not None:
        with blamed_on("mmproj"):
            check_projector(Path(files.mmproj))


@contextmanager
def blamed_on(field: str) -> Iterator[None]:
    """Turn what llamabind raises about a file or text into an error of the field that named it."""
    try:
        yield
    except InvalidParameterError:
        raise
    except LlamaError as error:
        raise InvalidParameterError(field, str(error)) from error


def _check_adapters(message: Estimate) -> None:
    architecture = read_gguf_header(message.path).architecture or ""
    model: dict[str, tuple[int, ...]] = {}
    for shard in shards(Path(message.path)):
        model.update(read_gguf_shapes(shard))
    for index, (name, _) in enumerate(message.files.lora):
        with blamed_on(f"lora[{index}]"):
            check_adapter_header(Path(name), architecture)
            check_adapter_shapes(Path(name), model)


def _check_draft(path: str, draft_path: str) -> None:
    params = ModelParams(vocab_only=True, load_mode="none")
    with Model(draft_path, params) as draft, Model(path, params) as model:
        check_draft_vocabulary(model, draft)
