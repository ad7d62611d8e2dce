"""The network: llama's architecture at toy size, with the tensor layout llama.cpp expects."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes of one network; every width is a multiple of 32 because Q8_0 stores blocks of 32."""

    n_vocab: int
    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_ff: int = 352
    n_ctx: int = 2048
    rope_base: float = 100_000.0
    rms_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


class Rotary(nn.Module):
    """Rotary position embedding on neighbouring pairs (llama.cpp's LLAMA_ROPE_TYPE_NORM)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        exponent = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angle = torch.outer(torch.arange(shape.n_ctx).float(), shape.rope_base**-exponent)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n_tokens = x.shape[-2]
        cos, sin = self.cos[:n_tokens], self.sin[:n_tokens]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.n_head = shape.n_head
        # Biases (optional tensors of llama.cpp's llama) let a head look at a fixed distance.
        self.q = nn.Linear(shape.n_embd, shape.n_embd)
        self.k = nn.Linear(shape.n_embd, shape.n_embd)
        self.v = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.output = nn.Linear(shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.n_head, -1)).transpose(1, 2)

        q, k, v = rotary(heads(self.q(x))), rotary(heads(self.k(x))), heads(self.v(x))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.up = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(shape.n_embd, eps=shape.rms_eps)
        self.attn = Attention(shape)
        self.ffn_norm = nn.RMSNorm(shape.n_embd, eps=shape.rms_eps)
        self.ffn = FeedForward(shape)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        x = x + self.attn(self.attn_norm(x), rotary)
        return x + self.ffn(self.ffn_norm(x))


class TinyLlama(nn.Module):
    """Token ids (batch, time) to final hidden states; `logits` turns those into vocabulary scores.

    The output matrix is the embedding matrix: half the bytes, and llama.cpp reads a GGUF without
    `output.weight` that way.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.rotary = Rotary(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.RMSNorm(shape.n_embd, eps=shape.rms_eps)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embed.weight, std=0.05)
        for block in self.blocks:
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
            # Layers that write to the residual stream start silent, so depth costs nothing early.
            nn.init.zeros_(block.attn.output.weight)
            nn.init.zeros_(block.ffn.down.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.rotary)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.embed.weight)
