"""read_vectors: a worker's embeddings as arrays, with as many numbers as a request wants."""

import numpy as np
from numpy.typing import NDArray

from server.errors import InvalidRequestError
from server.protocol.tasks import Vectors

Vector = NDArray[np.float32]


def read_vectors(result: Vectors, dimensions: int | None) -> list[Vector]:
    """One for each input. Raises InvalidRequestError that names `dimensions`."""
    return [_shortened(np.frombuffer(raw, "<f4"), dimensions) for raw in result.vectors]


def _shortened(vector: Vector, dimensions: int | None) -> Vector:
    """The first `dimensions` numbers, of length 1 again, as OpenAI does it."""
    if dimensions is None:
        return vector
    if dimensions > len(vector):
        raise InvalidRequestError(
            f"field 'dimensions': the model's vectors have {len(vector)} numbers, "
            f"{dimensions} were asked for",
            param="dimensions",
        )
    head = vector[:dimensions].astype(np.float64)
    length = float(np.linalg.norm(head))
    return (head / length if length > 0 else head).astype("<f4")
