"""Names: from the name in a request to the model of the cluster."""

from collections.abc import Sequence

from server.cluster.config import ClusterModel
from server.cluster.front.paths import model_in_path
from server.cluster.front.request import HttpRequest
from server.errors import InvalidRequestError, ModelNotFoundError

_TAG = ":latest"  # Ollama's clients add it to names without a tag


class Names:
    """The models of a cluster by all their names.

    A cluster of one model answers every request with it, whatever name the request has, as a
    server of one model does.
    """

    def __init__(self, models: Sequence[ClusterModel]) -> None:
        self.all = tuple(model.name for model in models)
        self._by_name: dict[str, str] = {}
        for model in models:
            self._by_name |= dict.fromkeys((model.name, *model.aliases), model.name)
        # A name of cluster.toml goes before the name of a model file, the first of which counts.
        for model in models:
            self._by_name.setdefault(model.source_name, model.name)

    def of(self, request: HttpRequest) -> str:
        """The model of a request. Raises ModelNotFoundError and, for a request that must name a
        model, InvalidRequestError.
        """
        name = _named(request)
        # Any replica refuses a body that is wrong, in its own words.
        if len(self.all) == 1 or request.is_malformed:
            return self.all[0]
        if name is not None:
            return self._find(name)
        if request.method == "POST":
            raise InvalidRequestError(
                f"field 'model' is required; this cluster has {', '.join(self.all)}", param="model"
            )
        return self.all[0]

    def _find(self, name: str) -> str:
        plain = name.removesuffix(_TAG)
        for candidate in (name, plain, f"{plain}.gguf"):
            if candidate in self._by_name:
                return self._by_name[candidate]
        raise ModelNotFoundError(name, param="model")


def _named(request: HttpRequest) -> str | None:
    candidates = (
        request.document.get("model"),
        model_in_path(request.path),
        request.query("model"),
        request.document.get("name"),  # Ollama's /api/show
    )
    return next((name for name in candidates if isinstance(name, str) and name), None)
