"""read_vectors: a worker's embeddings as arrays, cut to the dimensions that a request wants."""

import numpy as np
from numpy.typing import NDArray

from server.errors import InvalidRequestError
from server.protocol.tasks import Vectors

Vector = NDArray[np.float32]


def read_vectors(result: Vectors, dimensions: int | None) -> list[Vector]:
    """One float32 vector per input. Raises InvalidRequestError if `dimensions` is too large."""
    return [_shortened(np.frombuffer(raw, "<f4"), dimensions) for raw in result.vectors]


def _shortened(vector: Vector, dimensions: int | None) -> Vector:
    """The first `dimensions` numbers, normalised to length 1 again, as OpenAI does."""
    if dimensions is None:
        return vector
    if dimensions > len(vector):
        raise InvalidRequestError(
            f"field 'dimensions': {dimensions} is more than the {len(vector)} dimensions of the "
            "model's embeddings",
            param="dimensions",
        )
    head = vector[:dimensions].astype(np.float64)
    length = float(np.linalg.norm(head))
    return (head / length if length > 0 else head).astype("<f4")
