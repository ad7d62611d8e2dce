"""The training loop: Muon for the matrices, Adam for the rest, one pass over fresh text."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from tiny_model.batches import IGNORED, Batch
from tiny_model.muon import Muon
from tiny_model.network import TinyLlama


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Learning rates and their schedule: short warm-up, flat, then linear decay to nothing."""

    matrix_rate: float = 0.006
    embedding_rate: float = 1e-2
    norm_rate: float = 4e-3
    warm_up: float = 0.03
    decay: float = 0.6
    clip: float = 1.0
    report_every: int = 200

    def scale(self, progress: float) -> float:
        """The factor on all learning rates at `progress` in 0..1."""
        return min(1.0, progress / self.warm_up, max(0.0, (1.0 - progress) / self.decay))


def _optimizers(network: TinyLlama, plan: TrainingPlan) -> list[torch.optim.Optimizer]:
    matrices = [p for p in network.blocks.parameters() if p.ndim == 2]
    norms = [p for p in network.parameters() if p.ndim == 1]
    return [
        Muon(matrices, lr=plan.matrix_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.Adam(
            [
                {"params": [network.embed.weight], "lr": plan.embedding_rate},
                {"params": norms, "lr": plan.norm_rate},
            ],
            betas=(0.9, 0.98),
        ),
    ]


def batch_loss(network: TinyLlama, batch: Batch) -> torch.Tensor:
    """Mean cross entropy over the learned positions; only those get vocabulary scores."""
    hidden = network(batch.tokens)
    chosen = batch.targets != IGNORED
    return functional.cross_entropy(network.logits(hidden[chosen]), batch.targets[chosen])


def train(
    network: TinyLlama,
    data: Sequence[Batch],
    plan: TrainingPlan,
    report: Callable[[str], None],
    checkpoint: Callable[[int], None],
) -> None:
    """One pass over `data`; `checkpoint` is called with the step at every report."""
    optimizers = _optimizers(network, plan)
    rates = [[group["lr"] for group in each.param_groups] for each in optimizers]
    started, running = time.monotonic(), 0.0
    for step, batch in enumerate(data):
        scale = plan.scale((step + 1) / len(data))
        for optimizer, base in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * scale
        loss = batch_loss(network, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        running += (loss.item() - running) * max(0.05, 1 / (step + 1))
        if (step + 1) % plan.report_every == 0 or step + 1 == len(data):
            seconds = time.monotonic() - started
            report(f"step {step + 1}/{len(data)}  loss {running:.4f}  {seconds:.0f} s")
            checkpoint(step + 1)
