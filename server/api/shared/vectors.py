"""read_vectors: a worker's embeddings as arrays, with the norm and dimensions of a request."""

from typing import TYPE_CHECKING, TypeAlias

from server.errors import InvalidRequestError
from server.protocol.tasks import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector: TypeAlias = "NDArray[np.float32]"

EUCLIDEAN = 2
RAW = -1
# The largest value of llama-server's norm 0.
_LARGEST = 32760.0


def read_vectors(
    result: Vectors, dimensions: int | None = None, norm: int = EUCLIDEAN
) -> list[Vector]:
    """One float32 vector per input. Raises InvalidRequestError if `dimensions` is too large.

    With `norm` 2 the worker has normalised the vectors; with another one it returns raw vectors.
    """
    import numpy as np  # here, so that a server without embeddings does not import it

    vectors = (np.frombuffer(raw, "<f4") for raw in result.vectors)
    if norm == EUCLIDEAN:
        return [_shortened(vector, dimensions) for vector in vectors]
    return [normalized(_cut(vector, dimensions), norm) for vector in vectors]


def token_vectors(result: Vectors) -> list[list[list[float]]]:
    """The vectors of each input as lists: one, or with pooling "none" one for each token."""
    import numpy as np  # here, so that a server without embeddings does not import it

    counts = result.n_tokens if result.are_of_tokens else (1,) * len(result.vectors)
    return [
        np.frombuffer(raw, "<f4").reshape(count, -1).tolist()
        for raw, count in zip(result.vectors, counts, strict=True)
    ]


def normalized(vector: Vector, norm: int) -> Vector:
    """The vector scaled as by common_embd_normalize of llama.cpp; a zero vector stays zero.

    `norm` -1 does not scale, 0 scales the largest value to 32760, any other p to a p-norm of 1.
    """
    if norm == RAW:
        return vector
    import numpy as np  # here, so that a server without embeddings does not import it

    values = np.abs(vector.astype(np.float64))
    largest = float(values.max(initial=0.0))
    if largest == 0.0:
        return vector
    if norm == 0:
        length = largest / _LARGEST
    else:
        # Scaled by the largest value first, whose high powers would overflow.
        length = largest * float(((values / largest) ** norm).sum()) ** (1.0 / norm)
    return (vector / length).astype("<f4")


def _shortened(vector: Vector, dimensions: int | None) -> Vector:
    """The first `dimensions` numbers, normalised to length 1 again, as OpenAI does."""
    return vector if dimensions is None else normalized(_cut(vector, dimensions), EUCLIDEAN)


def _cut(vector: Vector, dimensions: int | None) -> Vector:
    if dimensions is None:
        return vector
    if dimensions > len(vector):
        raise InvalidRequestError(
            f"field 'dimensions': {dimensions} is more than the {len(vector)} dimensions of the "
            "model's embeddings",
            param="dimensions",
        )
    return vector[:dimensions]
