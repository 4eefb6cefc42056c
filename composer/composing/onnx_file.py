"""A recurrent network as ONNX: one event in, the logits of the next out, its state in and out; and composing with it.

    B = pieces, L = num_layers, H = hidden_size, V = classes of a channel

    inputs   event (B, 3) int64, the last event; state_0 .. (L, B, H): of an LSTM h and c, of a GRU h; zeros at first
             given (B, 3) int64, of chained heads alone: what is known of the next event
    outputs  note, velocity, time (B, V) logits of the next event; next_0 .. the state after `event`

The file's metadata holds, under `composer`, the vocabulary, the primer, what writing MIDI needs, and how the run draws,
as JSON. The logits are the network's own: where it was trained with `label_smoothing` e > 0, what is drawn from is
p = (q - e / V) / (1 - e) of q = softmax(logits), before the temperature. `compose` needs onnxruntime and numpy alone,
and draws what `composer generate mode=stateful` draws for the same seed.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from composer.composing.setting import MIN_SHARE
from composer.config.limits import CHANNELS
from composer.errors import ComposerError
from composer.files import write_atomic
from composer.nets.network import Network
from composer.nets.recurrent import Recurrent

SUFFIX = ".onnx"
_KEY = "composer"
_OPSET = 18


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ComposerError(f"{name.split('.')[0]} is not installed; pip install 'lstm-composer[onnx]'") from error


class _Step(nn.Module):
    """One step of a network with tensors as arguments, in the order of the ONNX file's inputs and outputs."""

    def __init__(self, network: Recurrent) -> None:
        super().__init__()
        self.network = network

    def forward(self, event: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the next event, and the state after `event`.

        Args:
            event: (B, 3) classes.
            rest: with chained heads `given` (B, 3), then the tensors (L, B, H) of the state.
        """
        given, state = (rest[0], rest[1:]) if self.network.chain is not None else (None, rest)
        hidden, after = self.network.cell(event, state)
        return *self.network.heads(hidden, given), *after


def write(path: Path, network: Network, values: dict[str, Any]) -> None:
    """Write a network all or nothing.

    Args:
        path: the file.
        network: in evaluation mode.
        values: plain values for the metadata.

    Raises:
        ComposerError: the network keeps no state or reads the place in the bar, onnx is not installed, or the file
            cannot be written.
    """
    if not isinstance(network, Recurrent):
        raise ComposerError(f"output={path}: ONNX takes a network with a state, lstm or gru; write .safetensors")
    if network.bar_position:
        raise ComposerError(f"output={path}: ONNX takes no network with model.bar_position=true; write .safetensors")
    onnx, _ = _package("onnx"), _package("onnxscript")
    events = ["event"] if network.chain is None else ["event", "given"]
    # Two pieces: the exporter would take a batch of one for a constant.
    state = network.empty_state(2)
    names = [f"state_{k}" for k in range(len(state))]
    batch = torch.export.Dim("B")
    with _quiet_exporter():
        program = torch.onnx.export(
            _Step(network).eval(),
            (*(torch.zeros(2, 3, dtype=torch.int64) for _ in events), *state),
            dynamo=True,
            input_names=[*events, *names],
            output_names=[*CHANNELS, *(f"next_{k}" for k in range(len(state)))],
            dynamic_shapes=({0: batch}, (*({0: batch} for _ in events[1:]), *({1: batch} for _ in state))),
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None  # what it returns with dynamo=True
    model = program.model_proto
    onnx.helper.set_model_props(model, {_KEY: json.dumps(values)})
    onnx.checker.check_model(model)
    write_atomic(path, lambda stream: stream.write(model.SerializeToString()))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes about itself, such as on torchvision, from the terminal."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def compose(
    path: Path, events: int, seed: int, *, temperature: float | None = None, top_p: float | None = None
) -> NDArray[np.uint8]:
    """Return the classes (events, 3) of the piece that `composer generate mode=stateful` composes first for `seed`.

    Args:
        path: the ONNX file.
        events: how many to compose.
        seed: as for `composer generate`.
        temperature: divides the logits; None is the run's own, as the file's metadata say it.
        top_p: draw among the likeliest classes whose probabilities reach p; 1 is no cut, None the run's own.

    Raises:
        ComposerError: onnxruntime is not installed.
    """
    session = _package("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = json.loads(session.get_modelmeta().custom_metadata_map[_KEY])
    # Files of earlier versions say neither.
    own, smoothing = values.get("sampling", {"temperature": 1.0, "top_p": 1.0}), values.get("label_smoothing", 0.0)
    temperature = own["temperature"] if temperature is None else temperature
    top_p = own["top_p"] if top_p is None else top_p
    feeds = {}
    for given in session.get_inputs():
        if given.name.startswith("state"):
            feeds[given.name] = np.zeros((given.shape[0], 1, given.shape[2]), np.float32)
        else:
            feeds[given.name] = np.zeros((1, 3), np.int64)
    uniform = uniforms(values["stream"], seed, events)
    composed = np.zeros((events, 3), np.uint8)
    for event in values["primer"][:-1]:
        feeds |= _next_state(session.run(None, feeds | {"event": np.array([event])}))
    event = np.array(values["primer"][-1])
    for k in range(events):
        feeds["event"] = event[None]
        event = np.zeros(3, np.int64)
        for channel in range(3):
            if channel == 0 or "given" in feeds:
                feeds = feeds | ({"given": event[None]} if "given" in feeds else {})
                outputs = session.run(None, feeds)
            p = _probabilities(outputs[channel][0].astype(np.float64), smoothing, temperature, top_p)
            event[channel] = _draw(p, uniform[k, channel])
        feeds |= _next_state(outputs)
        composed[k] = event
    return composed


def _next_state(outputs: list[Any]) -> dict[str, Any]:
    return {f"state_{k}": part for k, part in enumerate(outputs[len(CHANNELS) :])}


def _probabilities(
    logits: NDArray[np.float64], smoothing: float, temperature: float, top_p: float
) -> NDArray[np.float64]:
    """Return the distribution (V,) that is drawn from, made as in `sampling.unsmoothed` and `.probabilities`."""
    if smoothing:
        q = _softmax(logits)
        p = np.maximum(q - smoothing / len(q), MIN_SHARE * q)
        logits = np.log(p / p.sum())
    p = _softmax(logits / temperature)
    if top_p == 1:
        return p
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    ranked[np.cumsum(ranked) - ranked >= top_p] = 0
    p[order] = ranked
    return np.asarray(p / p.sum())


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.exp(logits - logits.max())
    return np.asarray(p / p.sum())


def _draw(p: NDArray[np.float64], uniform: float) -> int:
    """Draw a class as `sampling.draw` does."""
    cumulative = np.cumsum(p)
    return int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))


def uniforms(stream: int, seed: int, events: int) -> NDArray[np.float64]:
    """Return (events, 3) numbers in [0, 1): those of torch's generator for the first piece of `seed`.

    Both use the Mersenne Twister begun with 32 bits; torch makes a double of the low 53 bits of two draws.
    """
    state = np.random.SeedSequence([seed, 0, stream]).generate_state(1, np.uint64)
    twister = np.random.RandomState(int(state[0]) & 0xFFFFFFFF)
    pairs = twister.randint(0, 1 << 32, size=(events, 3, 2), dtype=np.uint32).astype(np.uint64)
    bits = ((pairs[..., 0] << np.uint64(32)) | pairs[..., 1]) & np.uint64((1 << 53) - 1)
    return np.asarray(bits * 2.0**-53, np.float64)
