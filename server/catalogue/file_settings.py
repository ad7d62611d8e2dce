"""file_settings: the load settings that a model's own file and the files beside it imply."""

from llamabind.gguf.purpose import purpose_of
from server.catalogue.catalogue import ModelFile
from server.protocol.load_settings import LoadSettings


def file_settings(file: ModelFile) -> LoadSettings:
    """Settings that apply unless the server's configuration or a request sets them.

    An embedding model or reranker is loaded as such; any other model takes the projector beside it.
    """
    purpose = "generation" if file.header is None else purpose_of(file.header)
    if purpose != "generation":
        return LoadSettings(embedding=True, pooling="rank" if purpose == "rerank" else None)
    return LoadSettings(mmproj=file.projector.name if file.projector else None)
