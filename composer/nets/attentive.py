"""An LSTM that looks back: at what followed when the music was last as it is now.

    B = batch, T = events read, H = hidden_size, I = width of the input
    x_t (I)  the event at step t of the window
    h_t (H)  output of the LSTM after it

Music repeats itself, and an LSTM must hold a passage in its state to repeat it. Here each step also attends to the
earlier steps of its window: the query is h_t, the key of step s < t is h_s, and the value is x_(s+1), the event that
followed it. A key and a value that are learnt stand for "nothing like this was heard" (the sentinel of Merity et al.
2017, "Pointer sentinel mixture models"). With K = H / A entries for each of A heads,

    a_t = softmax over s < t and the sentinel of (W_q h_t)(W_k h_s) / sqrt(K)      (Vaswani et al. 2017)
    output_t = h_t + W_o sum over s of a_ts W_v x_(s+1)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from composer.config.model import AttentiveLSTMConfig
from composer.nets.network import Network
from composer.registry import implements


@implements("model", "attentive_lstm")
class AttentiveLSTM(Network):
    """An LSTM with attention to the events that followed the earlier steps of its window."""

    def __init__(self, config: AttentiveLSTMConfig, sizes: tuple[int, int, int]) -> None:
        """Create the network; `sizes` are the numbers of note, velocity and time classes."""
        super().__init__(config, sizes)
        width, between = config.hidden_size, config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(self.input_size, width, config.num_layers, batch_first=True, dropout=between)
        self.attention_heads = config.attention_heads
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.value = nn.Linear(self.input_size, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        # Key and value of "nothing like this".
        self.sentinel = nn.Parameter(torch.zeros(2, width))
        self.add_heads(config)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the representation (B, T, H) of each prefix of `tokens` (B, T, 3), before dropout."""
        inputs = self.embed(tokens)
        states: Tensor = self.lstm(inputs)[0]
        sentinel = self.sentinel.expand(len(tokens), 2, -1)
        # Step s is seen together with the event after it, so that the last step has none yet.
        keys = torch.cat([sentinel[:, :1], self.key(states[:, :-1])], dim=1)
        values = torch.cat([sentinel[:, 1:], self.value(inputs[:, 1:])], dim=1)
        query, keys, values = (self.split(part) for part in (self.query(states), keys, values))
        scores = query @ keys.mT / math.sqrt(query.shape[-1])  # (B, A, T, T): the sentinel, then steps 0 to T - 2
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=tokens.device).triu(1)
        shares = scores.masked_fill(later, -math.inf).softmax(-1)
        seen: Tensor = self.out((shares @ values).transpose(1, 2).flatten(-2))
        return states + seen

    def split(self, rows: Tensor) -> Tensor:
        """Return rows (B, T, H) as (B, A, T, K)."""
        return rows.view(*rows.shape[:2], self.attention_heads, -1).transpose(1, 2)
