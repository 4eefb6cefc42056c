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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.composing.setting import MIN_SHARE
from composer.config.limits import CHANNELS
from composer.errors import ComposerError
from composer.files import write_atomic
from composer.nets.network import Chain, Network
from composer.nets.recurrent import Recurrent
from composer.nets.stepping import Layer

SUFFIX = ".onnx"
_KEY = "composer"
_OPSET, _IR = 17, 8


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ComposerError(f"{name.split('.')[0]} is not installed; pip install 'composer[onnx]'") from error


class _Graph:
    """Nodes and weights in the order in which they are added; a value is known by its name."""

    def __init__(self) -> None:
        self.helper, self.numpy = _package("onnx.helper"), _package("onnx.numpy_helper")
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, value: Any) -> str:
        name = f"weight_{len(self.weights)}"
        array = np.array(value.detach().numpy() if hasattr(value, "detach") else value, order="C")
        self.weights.append(self.numpy.from_array(array, name))
        return name

    def add(self, operation: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        return self.split(operation, *inputs, to=(to or f"value_{len(self.nodes)}",), **attributes)[0]

    def split(self, operation: str, *inputs: str, to: Sequence[str], **attributes: Any) -> Sequence[str]:
        self.nodes.append(self.helper.make_node(operation, inputs, to, **attributes))
        return to

    def parts(self, value: str, sizes: Sequence[int]) -> Sequence[str]:
        """A value divided along its last axis."""
        names = [f"value_{len(self.nodes)}_{k}" for k in range(len(sizes))]
        return self.split("Split", value, self.weight(np.array(sizes, np.int64)), to=names, axis=-1)

    def linear(self, value: str, weights: Any, bias: Any) -> str:
        """`value` times `weights` (I, O), plus `bias`."""
        return self.add("Add", self.add("MatMul", value, self.weight(weights)), self.weight(bias))

    def layers(self, value: str, count: int) -> list[str]:
        """The layers (B, H) of a state (L, B, H)."""
        return [self.add("Gather", value, self.weight(np.array(k)), axis=0) for k in range(count)]

    def stacked(self, layers: Sequence[str], to: str) -> None:
        """A state (L, B, H) of its layers (B, H)."""
        axis = self.weight(np.array([0]))
        self.add("Concat", *(self.add("Unsqueeze", layer, axis) for layer in layers), to=to, axis=0)


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
    graph = _Graph()
    cells = network.cells()
    columns = graph.add("Add", _read_channels(graph, network), graph.weight(network.offsets))
    rows = graph.add("Gather", graph.weight(cells.table), columns, axis=0)
    rows = graph.add("ReduceSum", rows, graph.weight(np.array([1])), keepdims=0)
    before = [graph.layers(f"state_{k}", len(cells.layers)) for k in range(cells.parts)]
    step = _lstm if cells.parts == 2 else _gru
    after: list[tuple[str, ...]] = []
    for k, layer in enumerate(cells.layers):
        if k:
            rows = graph.linear(after[-1][0], layer.into, layer.bias)
        after.append(step(graph, rows, layer, [part[k] for part in before], cells.hidden_size))
    for k in range(cells.parts):
        graph.stacked([state[k] for state in after], f"next_{k}")
    _heads(graph, network, after[-1][0])
    _save(path, graph, network, cells.parts, len(cells.layers), values)


def _read_channels(graph: _Graph, network: Network) -> str:
    """The classes (B, C) of the channels that the network reads."""
    return graph.add("Gather", "event", graph.weight(np.array(network.channels)), axis=1)


def _lstm(graph: _Graph, rows: str, layer: Layer, state: Sequence[str], size: int) -> tuple[str, ...]:
    """H and c after a step; see `stepping.LSTMCells`."""
    h, c = state
    gates = graph.add("Sigmoid", graph.add("Add", rows, graph.add("MatMul", h, graph.weight(layer.hidden))))
    i, f, g, o = graph.parts(gates, [size] * 4)
    two, one = graph.weight(np.float32(2)), graph.weight(np.float32(1))
    g = graph.add("Sub", graph.add("Mul", g, two), one)
    c = graph.add("Add", graph.add("Mul", f, c), graph.add("Mul", i, g))
    return graph.add("Mul", o, graph.add("Tanh", c)), c


def _gru(graph: _Graph, rows: str, layer: Layer, state: Sequence[str], size: int) -> tuple[str, ...]:
    """H after a step; see `stepping.GRUCells`."""
    (h,) = state
    sizes = [2 * size, size]
    (both, n), (both_seen, n_seen) = (
        graph.parts(value, sizes) for value in (rows, graph.linear(h, layer.hidden, layer.hidden_bias))
    )
    r, z = graph.parts(graph.add("Sigmoid", graph.add("Add", both, both_seen)), [size] * 2)
    n = graph.add("Tanh", graph.add("Add", n, graph.add("Mul", r, n_seen)))
    return (graph.add("Add", n, graph.add("Mul", z, graph.add("Sub", h, n))),)


def _heads(graph: _Graph, network: Network, hidden: str) -> None:
    """The logits of the three channels."""
    weights, bias = network.linear.weight.t(), network.linear.bias
    ends = np.cumsum([0, *network.sizes])
    values = [hidden] * 3
    if network.chain is not None:
        values = [hidden, *_chained(graph, network.chain, hidden)]
    for k, value in enumerate(values):
        part = slice(ends[k], ends[k + 1])
        product = graph.add("MatMul", value, graph.weight(weights[:, part]))
        graph.add("Add", product, graph.weight(bias[part]), to=CHANNELS[k])


def _chained(graph: _Graph, chain: Chain, hidden: str) -> list[str]:
    """What the velocity and the time are predicted from; see `network.Chain`."""
    note, velocity, _ = (graph.add("Gather", "given", graph.weight(np.array(k)), axis=1) for k in range(3))
    size = chain.note.out_features
    moved = graph.add("Add", velocity, graph.weight(np.array(chain.sizes[0])))
    found = []
    for linear, classes in ((chain.note, [note]), (chain.both, [note, moved])):
        into, rows = linear.weight[:, :size].t(), graph.weight(linear.weight[:, size:].t())
        value = graph.linear(hidden, into, linear.bias)
        for name in classes:
            value = graph.add("Add", value, graph.add("Gather", rows, name, axis=0))
        found.append(graph.add("Add", hidden, graph.add("Tanh", value)))
    return found


def _save(path: Path, graph: _Graph, network: Recurrent, parts: int, layers: int, values: dict[str, Any]) -> None:
    onnx, helper = _package("onnx"), graph.helper
    events = ["event"] if network.chain is None else ["event", "given"]
    whole, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    state = (layers, "B", network.linear.in_features)
    inputs = [helper.make_tensor_value_info(name, whole, ("B", 3)) for name in events]
    inputs += [helper.make_tensor_value_info(f"state_{k}", real, state) for k in range(parts)]
    outputs = [
        helper.make_tensor_value_info(name, real, ("B", size))
        for name, size in zip(CHANNELS, network.sizes, strict=True)
    ]
    outputs += [helper.make_tensor_value_info(f"next_{k}", real, state) for k in range(parts)]
    opset = [helper.make_opsetid("", _OPSET)]
    whole_graph = helper.make_graph(graph.nodes, "composer", inputs, outputs, graph.weights)
    model = helper.make_model(whole_graph, opset_imports=opset, ir_version=_IR, producer_name="composer")
    helper.set_model_props(model, {_KEY: json.dumps(values)})
    onnx.checker.check_model(model)
    write_atomic(path, lambda stream: stream.write(model.SerializeToString()))


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
    """(events, 3) numbers in [0, 1): those of torch's generator for the first piece of `seed`.

    Both use the Mersenne Twister begun with 32 bits; torch makes a double of the low 53 bits of two draws.
    """
    state = np.random.SeedSequence([seed, 0, stream]).generate_state(1, np.uint64)
    twister = np.random.RandomState(int(state[0]) & 0xFFFFFFFF)
    pairs = twister.randint(0, 1 << 32, size=(events, 3, 2), dtype=np.uint32).astype(np.uint64)
    bits = ((pairs[..., 0] << np.uint64(32)) | pairs[..., 1]) & np.uint64((1 << 53) - 1)
    return np.asarray(bits * 2.0**-53, np.float64)
