"""A small causal Transformer over events, for comparison with recurrent networks of the same number of parameters.

    B = batch, T = events read, D = hidden_size, A = attention_heads, K = D / A
    tokens (B, T, 3) integer classes in the order note, velocity, time

Pre-norm blocks (Xiong et al. 2020) of causal attention (Vaswani et al. 2017) and a layer of 4 D units with GELU.
Positions are encoded by rotating queries and keys (rotary embedding, Su et al. 2021): attention depends on the distance
of two events, and windows may have any length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.config.model import TransformerConfig
from composer.nets.network import Network
from composer.registry import implements

# The slowest rotation takes about this many events; the usual value of rotary embedding.
_BASE = 10_000.0


@implements("model", "transformer")
class ThreeHeadTransformer(Network):
    """A causal Transformer over events that predicts the next one, channel by channel."""

    def __init__(self, config: TransformerConfig, sizes: tuple[int, int, int]) -> None:
        """Create the network; `sizes` are the numbers of note, velocity and time classes."""
        super().__init__(config, sizes)
        width = config.hidden_size
        self.input = nn.Linear(self.input_size, width, bias=False)
        blocks = [Block(width, config.attention_heads, config.dropout) for _ in range(config.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.add_heads(config)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the representation (B, T, D) of each prefix of `tokens`, before dropout."""
        x = self.input(self.embed(tokens))
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed


class Block(nn.Module):
    """A pre-norm block: attention, then a feed-forward layer, each with a residual connection."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Create a block of width D with A heads; `dropout` applies to each residual."""
        super().__init__()
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, T, D) for (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        added: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm(x)))))
        return added


class Attention(nn.Module):
    """Causal self-attention: each event attends to itself and to the events before it."""

    def __init__(self, width: int, heads: int) -> None:
        """Create the projections for width D and A heads."""
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended values (B, T, D) for (B, T, D)."""
        query, key, value = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, A, T, K) each
        query, key = rotate(query), rotate(key)
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        # Written out: torch's fused attention has no deterministic gradient on every GPU, and 30 events do not need it.
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        shares = scores.masked_fill(future, -math.inf).softmax(-1)
        out: Tensor = self.out((shares @ value).transpose(1, 2).flatten(-2))
        return out


def rotate(x: Tensor) -> Tensor:
    """Rotate pairs (k, k + K / 2) of the entries of x (..., T, K) at place t by the angle t / 10000^(2 k / K)."""
    length, size = x.shape[-2:]
    rates = _BASE ** (-torch.arange(0, size, 2, device=x.device, dtype=torch.float32) / size)
    angles = torch.arange(length, device=x.device, dtype=torch.float32)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    one, two = x.chunk(2, dim=-1)
    return torch.cat([one * cos - two * sin, one * sin + two * cos], dim=-1)
