"""Initial weights that already copy: an induction circuit in the first two layers.

A network this small needs millions of tokens to discover by itself how to repeat a name it was
told. Laid in from the start (previous-token heads, then heads that look for what followed the same
token before), training has only to refine it. See Olsson et al., "In-context Learning and
Induction Heads", 2022.
"""

import torch
from torch import Tensor, nn

from tiny_model.network import Attention, NetworkShape, TinyLlama

_N_PREVIOUS_HEADS = 2
_SHARPNESS = 6.0
_WRITE_GAIN = 0.1
_MATCH_GAIN = 1.25
_COPY_GAIN = 0.1
# Rotary pairs before this one turn too fast to compare tokens that are far apart.
_FIRST_SLOW_PAIR = 5


def lay_copying_circuit(network: TinyLlama) -> None:
    """Overwrite the attention weights of layers 0 and 1; all other weights stay."""
    shape = network.shape
    first, second = network.blocks[0].attn, network.blocks[1].attn
    seen = [_orthonormal_rows(shape) for _ in range(_N_PREVIOUS_HEADS)]
    written = [_orthonormal_rows(shape) for _ in range(_N_PREVIOUS_HEADS)]
    with torch.no_grad():
        for head in range(_N_PREVIOUS_HEADS):
            _look_back_by_one(first, head, shape)
            rows = _rows(head, shape)
            first.v.weight[rows] = seen[head]
            first.output.weight[:, rows] = _WRITE_GAIN * written[head].T
        _match_what_came_before(second, seen, written, shape)
        copied = _orthonormal(shape.n_embd)
        second.v.weight.copy_(copied)
        second.output.weight.copy_(_COPY_GAIN * copied.T)


def _rows(head: int, shape: NetworkShape) -> slice:
    return slice(head * shape.head_dim, (head + 1) * shape.head_dim)


def _orthonormal(size: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(size, size))


def _orthonormal_rows(shape: NetworkShape) -> Tensor:
    return _orthonormal(shape.n_embd)[: shape.head_dim]


def _look_back_by_one(attention: Attention, head: int, shape: NetworkShape) -> None:
    """Query and key that depend on the distance alone, with the best score at distance one."""
    rows = _rows(head, shape)
    pairs = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angle = -(shape.rope_base**-pairs)
    turned = torch.stack((angle.cos(), angle.sin()), dim=-1).flatten()
    straight = torch.stack((torch.ones_like(angle), torch.zeros_like(angle)), dim=-1).flatten()
    attention.q.weight[rows] *= 0.1
    attention.k.weight[rows] *= 0.1
    attention.q.bias[rows] = _SHARPNESS * turned
    attention.k.bias[rows] = _SHARPNESS * straight


def _match_what_came_before(
    attention: Attention, seen: list[Tensor], written: list[Tensor], shape: NetworkShape
) -> None:
    """Query this token, key the token before: a high score where this token stood before."""
    fast = 2 * _FIRST_SLOW_PAIR
    n_slow = shape.head_dim - fast
    for head in range(shape.n_head):
        rows = _rows(head, shape)
        source = head % len(seen)
        used = slice(0, n_slow) if head < len(seen) else slice(fast, None)
        slow = slice(rows.start + fast, rows.stop)
        attention.q.weight[rows] *= 0.1
        attention.k.weight[rows] *= 0.1
        attention.q.weight[slow] = _MATCH_GAIN * seen[source][used]
        attention.k.weight[slow] = _MATCH_GAIN * written[source][used]
