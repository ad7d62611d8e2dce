"""Muon, the optimizer for weight matrices, in float32: PyTorch's own works in bfloat16, which is
ten times slower on a CPU without bfloat16 instructions."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Newton-Schulz coefficients of the reference implementation (Keller Jordan, 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def _orthogonalised(matrices: Tensor) -> Tensor:
    """The stack (n, rows, columns) with all singular values near one, for rows <= columns."""
    a, b, c = _COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step is orthogonalised; parameters must be matrices."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override,unused-ignore]  # takes no closure
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for same_shape in by_shape.values():
                self._step(same_shape, group["lr"], group["momentum"], group["weight_decay"])

    def _step(
        self, matrices: list[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        updates = []
        for matrix in matrices:
            assert matrix.grad is not None
            velocity = self.state[matrix].setdefault("velocity", torch.zeros_like(matrix))
            velocity.lerp_(matrix.grad, 1 - momentum)
            updates.append(matrix.grad.lerp(velocity, momentum))
        stack = torch.stack(updates)
        is_tall = stack.shape[-2] > stack.shape[-1]
        directions = _orthogonalised(stack.mT if is_tall else stack)
        scale = max(1.0, stack.shape[-2] / stack.shape[-1]) ** 0.5
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - lr * weight_decay)
            matrix.add_(direction.T if is_tall else direction, alpha=-lr * scale)
