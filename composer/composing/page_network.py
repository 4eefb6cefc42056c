"""A recurrent network for a page: its weights and what composing needs, as `render/page/network.js` reads them.

    I = width of the input, H = hidden_size, G = gates: 4 of an LSTM, 3 of a GRU

The page computes the same formulas in JavaScript. Where the network was trained on windows, its context there is
between half a window and a whole one, which two states that take turns hold; `composer generate` moves the window event
by event. So the pieces are alike, but not the same for a seed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.composing.composer import Composer
from composer.composing.setting import MIN_SHARE
from composer.config.training import Supervision
from composer.music.markings import Markings
from composer.nets.recurrent import Recurrent, ThreeHeadGRU, ThreeHeadLSTM
from composer.render.player import packed

# Weights that a page holds at most: some 15 MB of text.
MAX_PARAMETERS = 3_000_000
KINDS: dict[type[Recurrent], str] = {ThreeHeadLSTM: "lstm", ThreeHeadGRU: "gru"}
# Beats of new music for which bars are described; those after it are like the last.
_BEATS = 100_000.0


def page_network(composer: Composer) -> dict[str, Any] | None:
    """Return the network of a run for a page; None where it is not one of ours, or has over `MAX_PARAMETERS` weights.

    Returns:
        `kind`, sizes, `tensors` (name and shape of each, in order), `weights` (their 32-bit numbers, little-endian, as
        a gzip file in base64), the vocabulary, the primer (N, 4) with the places in the bar, and the run's setting.
    """
    model = composer.model
    kind = KINDS.get(type(model))  # type: ignore[arg-type]
    if kind is None or sum(parameter.numel() for parameter in model.parameters()) > MAX_PARAMETERS:
        return None
    assert isinstance(model, Recurrent)
    tensors = _tensors(model)
    content = b"".join(
        tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes() for tensor in tensors.values()
    )
    streams = composer.config.loss.supervision is Supervision.stream
    own, vocabulary = composer.setting, composer.vocabulary
    primed = composer.primed(None)
    markings, _ = composer.markings(primed, False)
    timing = composer.timing(primed.place)
    # The usual tempo of the piece, which MIDI's default replaces where its file says none.
    markings = Markings(((0.0, timing.microseconds_per_beat),), markings.meters, markings.keys)
    bars = composer.bars(primed) if model.bar_position else None
    places = torch.zeros(len(primed.classes), dtype=torch.long) if bars is None else bars.primer.long()
    return {
        "kind": kind,
        "hidden": model.linear.in_features,
        "layers": model.layers.num_layers,
        "sizes": list(model.sizes),
        "widths": list(model.widths),
        "channels": list(model.channels),
        "embedding": None if model.embedding is None else model.embedding.embedding_dim,
        "chained": model.chain is not None,
        "tensors": [[name, *tensor.shape] for name, tensor in tensors.items()],
        "weights": packed(content),
        "vocabulary": {"velocity_values": [], **vocabulary.to_plain()},
        "window": None if streams else composer.config.data.window_size,
        "primer": torch.cat([primed.classes.long(), places[:, None]], dim=1).tolist(),
        "metre": markings.segments(_BEATS),
        "smoothing": composer.smoothing,
        "least": MIN_SHARE,
        "longest": composer.origin.longest_note_seconds or 1e9,
        "temperature": own.temperature,
        "top_p": own.top_p,
    }


def _tensors(model: Recurrent) -> dict[str, Tensor]:
    """Return the weights by the names that the page uses."""
    found: dict[str, Tensor] = {}
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for k, weight in enumerate(model.weights()):
        found[f"{names[k % 4]}_{k // 4}"] = weight
    if model.embedding is not None:
        found["embedding"] = model.embedding.weight
    found |= {"linear": model.linear.weight, "linear_bias": model.linear.bias}
    if model.chain is not None:
        found |= {"chain_note": model.chain.note.weight, "chain_note_bias": model.chain.note.bias}
        found |= {"chain_both": model.chain.both.weight, "chain_both_bias": model.chain.both.bias}
    return found
