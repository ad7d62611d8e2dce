"""check_companions: checks the chat template and the files beside a model before a load.

So a working model is not unloaded for invalid ones, and the error names the right field.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llamabind import ChatTemplate, Model, ModelParams, read_gguf_header
from llamabind.errors import InvalidParameterError, LlamaError
from llamabind.gguf.adapter_header import check_adapter_header, check_adapter_shapes
from llamabind.gguf.header import read_gguf_shapes
from llamabind.native.adapter_weights import check_adapter_weights
from llamabind.native.load_failure import shards
from llamabind.speculation.draft_vocabulary import check_draft_vocabulary
from server.protocol.loading import Estimate


def check_companions(message: Estimate) -> None:
    """Raise InvalidParameterError naming the field. Of models only vocabularies are loaded, of
    adapters all weights are read.
    """
    template, files = message.settings.chat_template, message.files
    if template is not None:
        with errors_of_field("chat_template"):
            ChatTemplate(None, template).close()
    if files.lora:
        _check_adapters(message)
    if files.draft_model is not None:
        with errors_of_field("draft_model"):
            _check_draft(message.path, files.draft_model)
    if files.mmproj is not None:
        from llamabind.media.projector import check_projector  # most models have none

        with errors_of_field("mmproj"):
            check_projector(Path(files.mmproj))


@contextmanager
def errors_of_field(field: str) -> Iterator[None]:
    """Turn llamabind's errors about a file or text into errors of the field that named it."""
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
        with errors_of_field(f"lora[{index}]"):
            check_adapter_header(Path(name), architecture)
            check_adapter_shapes(Path(name), model)
            check_adapter_weights(Path(name))


def _check_draft(path: str, draft_path: str) -> None:
    params = ModelParams(vocab_only=True, load_mode="none")
    with Model(draft_path, params) as draft, Model(path, params) as model:
        check_draft_vocabulary(model, draft)
