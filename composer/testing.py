"""Checks that the tests of a plugin call for its parts, such as `composer.testing.check_model(MyNet)`.

Each raises an `AssertionError` that names the class, the method and what does not hold. What every kind of part owes to
the framework is tested here: shapes, values that depend on the arguments alone, and a training that can be resumed to
the same bits.

More than 400 lines, because a plugin's tests look for the check of each kind in one place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from composer import build, registry
from composer.composing.named_rules import Rule, Scope
from composer.composing.rules import Playing, silence
from composer.composing.sampling import Cut, SamplingMethod
from composer.config.compose import compose
from composer.config.data import TimeUnit
from composer.corpus.corpus import DataSource
from composer.data.augmentation import Augmentation, Played
from composer.data.splits import SplitRule, split_windows, window_runs
from composer.data.vocabulary import Vocabulary
from composer.data.window_sets import positions_of
from composer.music.events import Piece
from composer.nets.build import build_model
from composer.nets.network import Logits, Network
from composer.runs.checkpoint import AtomicCheckpointIO
from composer.training.callbacks import run_callbacks
from composer.training.losses import nll
from composer.training.regularizers import Regularizer, make_regularizer
from composer.training.terms import LossTerm, Metric
from composer.training.trainer import quiet_lightning

# Classes of the three channels of the music that parts are checked with.
SIZES = (12, 5, 7)
_SMALL = ("data.batch_size=256", "trainer.threads=1")
_TOLERANCE = 1e-4


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _events(batch: int, length: int, seed: int = 0) -> Tensor:
    """Return random classes (B, T, 3)."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (batch, length), generator=generator) for size in SIZES]
    return torch.stack(columns, dim=-1)


def _logits(events: int, seed: int = 0) -> Logits:
    generator = torch.Generator().manual_seed(seed)
    return Logits(*(torch.randn(events, size, generator=generator) for size in SIZES))


def check_model(network: type[Network], *overrides: str, resume: bool = True) -> None:
    """Check a registered network.

    Shapes, finite gradients of every parameter, a representation that depends on no later event and on no other row of
    the batch, random numbers from torch's generator alone, composing independent of the batch, and `check_resume`.

    Args:
        network: the class.
        overrides: of its keys, such as `model.kernel=3`.
        resume: whether a training is interrupted and resumed, which takes some seconds.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("model", network), network.__qualname__
    config = compose(f"model={name}", "model.dropout=0.3", *overrides).model
    torch.manual_seed(0)
    model = build_model(config, SIZES)
    model.eval()
    tokens = _events(4, 9)
    width = model.linear.in_features
    with torch.no_grad():
        last = model.encode_last(tokens)
        _require(last.shape == (4, width), f"{label}.encode_last: must return (B, H) = (4, {width}), not {last.shape}")
        if type(model).encode is not Network.encode:
            _check_encode(model, tokens, label)
        _require(torch.equal(last, model.encode_last(tokens)), f"{label}: differs from call to call in evaluation mode")
        alone = torch.cat([model.encode_last(row) for row in tokens.unsqueeze(1)])
        _require(torch.allclose(alone, last, atol=_TOLERANCE), f"{label}: a row depends on the others of its batch")
        _check_window(model, tokens, label)
        if model.carries:
            _check_state(model, tokens, label)
    _check_gradients(model, tokens, label)
    if resume:
        check_resume(f"model={name}", *overrides)


def _check_encode(model: Network, tokens: Tensor, label: str) -> None:
    every, width = model.encode(tokens), model.linear.in_features
    shape = (*tokens.shape[:2], width)
    _require(every.shape == shape, f"{label}.encode: must return (B, T, H) = {shape}, not {tuple(every.shape)}")
    last = model.encode_last(tokens)
    _require(torch.allclose(every[:, -1], last, atol=_TOLERANCE), f"{label}: encode and encode_last differ")
    changed = tokens.clone()
    changed[:, 5:] = _events(len(tokens), tokens.shape[1], seed=1)[:, 5:]
    same = torch.allclose(model.encode(changed)[:, :5], every[:, :5], atol=_TOLERANCE)
    _require(same, f"{label}.encode: a representation depends on later events, which leaks the target")


def _check_window(model: Network, tokens: Tensor, label: str) -> None:
    """Compare the window that composing uses with the network's representation of the same events."""
    window = model.window(tokens[:, :5], 5)
    for step in range(5, tokens.shape[1]):
        expected = model.encode_last(tokens[:, step - 5 : step])
        close = torch.allclose(window.hidden, expected, atol=1e-3)
        _require(close, f"{label}.window: differs from encode_last of the last 5 events, after {step} events")
        window.read(tokens[:, step])
    alone = [model.window(row[:, :5], 5) for row in tokens.unsqueeze(1)]
    together = model.window(tokens[:, :5], 5)
    for step in range(5, tokens.shape[1]):
        for row, one in enumerate(alone):
            one.read(tokens[row : row + 1, step])
        together.read(tokens[:, step])
    same = torch.equal(torch.cat([one.hidden for one in alone]), together.hidden)
    _require(same, f"{label}.window: the bits of a piece depend on the other pieces of the batch")


def _check_state(model: Network, tokens: Tensor, label: str) -> None:
    state = model.empty_state(len(tokens))
    tensors = isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state)
    rows = tensors and all(part.ndim == 3 and part.shape[1] == len(tokens) for part in state)
    _require(rows, f"{label}.empty_state: must return a tuple of tensors (L, B, H)")
    whole, _ = model.encode_from(tokens, model.empty_state(len(tokens)))
    first, state = model.encode_from(tokens[:, :4], model.empty_state(len(tokens)))
    second, _ = model.encode_from(tokens[:, 4:], state)
    parts = torch.cat([first, second], dim=1)
    _require(torch.allclose(whole, parts, atol=_TOLERANCE), f"{label}.encode_from: differs when it is carried on")
    running = model.running(tokens)
    close = torch.allclose(running.hidden, whole[:, -1], atol=1e-3)
    _require(close, f"{label}.running: differs from encode_from of all events")


def _check_gradients(model: Network, tokens: Tensor, label: str) -> None:
    model.train()

    def loss() -> Tensor:
        torch.manual_seed(1)
        return nll(model(tokens[:, :-1], tokens[:, -1]), tokens[:, -1]).sum()

    value = loss()
    _require(
        bool(torch.equal(value, loss())), f"{label}: its random numbers are not those of torch's default generator"
    )
    torch.autograd.backward(value)
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        _require(gradient is not None, f"{label}: the parameter {name} gets no gradient")
        assert gradient is not None
        _require(bool(gradient.isfinite().all()), f"{label}: the gradient of {name} is not finite")


def check_resume(*overrides: str, epochs: int = 2) -> None:
    """Check that a training that ends early and is resumed has the weights and metrics of one that was not.

    Args:
        overrides: as for `composer train`, such as `callbacks=mine`.
        epochs: of the training; the first part ends after one.

    Raises:
        AssertionError: weights or metrics differ.
    """
    given = [*_SMALL, *overrides, f"trainer.max_epochs={epochs}"]
    with tempfile.TemporaryDirectory() as folder:
        whole = _train(Path(folder) / "whole", given, epochs, None)
        _train(Path(folder) / "resumed", given, 1, None)
        last = Path(folder) / "resumed" / "checkpoints" / "last.ckpt"
        resumed = _train(Path(folder) / "resumed", given, epochs, last)
        tables = [(Path(folder) / run / "metrics.csv").read_text() for run in ("whole", "resumed")]
    label = " ".join(overrides)
    for name, value in whole.items():
        _require(torch.equal(value, resumed[name]), f"{label}: after resuming, {name} differs")
    _require(tables[0] == tables[1], f"{label}: after resuming, metrics.csv differs")


def _train(folder: Path, overrides: Sequence[str], epochs: int, path: Path | None) -> dict[str, Tensor]:
    from composer.training.loggers import make_loggers
    from composer.training.named_callbacks import make_callbacks

    config = compose(*overrides, "trainer.progress_bar=false", "logging.histogram_every_epochs=null")
    module, data = build(overrides)
    assert module.composer_values is not None
    folder.mkdir(parents=True, exist_ok=True)
    named = make_callbacks(config.callbacks, logged=bool(config.logger))
    own = run_callbacks(folder, config, module.composer_values, {}, None, named)
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=own.every,
            plugins=[AtomicCheckpointIO(module.composer_values)],
            logger=make_loggers(config.logger, folder, {}, new=path is None) or False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            gradient_clip_val=config.optimizer.gradient_clip_norm,
        )
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    return {name: value.clone() for name, value in module.state_dict().items()}


def check_regularizer(regularizer: type[Regularizer], *overrides: str, resume: bool = True) -> None:
    """Check a registered regularizer: a finite scalar with gradient, a step in place, no random numbers.

    Also `check_resume`.

    Args:
        regularizer: the class.
        overrides: of its keys.
        resume: as for `check_model`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("regularizer", regularizer), regularizer.__qualname__
    config = compose(f"regularizer={name}", "regularizer.weight=0.1", *overrides).regularizer
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    made = make_regularizer(config, model)
    penalty, before = made.penalty(), torch.random.get_rng_state()
    if penalty is not None:
        _require(penalty.ndim == 0 and bool(penalty.isfinite()), f"{label}.penalty: must return a finite scalar")
        _require(penalty.requires_grad, f"{label}.penalty: has no gradient")
    storage = [parameter.data_ptr() for parameter in model.parameters()]
    with torch.no_grad():
        made.after_step(0.01)
    moved = [parameter.data_ptr() for parameter in model.parameters()] != storage
    _require(not moved, f"{label}.after_step: must change the parameters in place")
    _require(np.isfinite(made.value()), f"{label}.value: must return a finite number")
    drawn = not torch.equal(before, torch.random.get_rng_state())
    _require(not drawn, f"{label}: draws random numbers, which would change those of dropout")
    if resume:
        check_resume(f"regularizer={name}", *overrides)


def check_loss_term(term: type[LossTerm], *overrides: str, resume: bool = True) -> None:
    """Check a registered term of the loss: a scalar with gradient that is a mean over events, and `check_resume`.

    Args:
        term: the class.
        overrides: of its keys, such as `loss_terms.NAME.weight=2`.
        resume: as for `check_model`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("loss_terms", term), term.__qualname__
    made = term(compose(f"loss_terms={name}", *overrides).loss_terms[name])
    logits, targets = Logits(*(channel.requires_grad_() for channel in _logits(8))), _events(8, 1)[:, 0]
    value = made(logits, targets)
    _require(value.ndim == 0 and bool(value.isfinite()), f"{label}: must return a finite scalar")
    _require(value.requires_grad, f"{label}: has no gradient")
    halves = [made(Logits(*(channel[part] for channel in logits)), targets[part]) for part in _HALVES]
    mean = torch.stack(halves).mean()
    _require(bool(torch.isclose(value, mean, atol=_TOLERANCE)), f"{label}: must be a mean over events")
    if resume:
        check_resume(f"loss_terms={name}", *overrides)


_HALVES = (slice(0, 4), slice(4, 8))


def check_metric(metric: type[Metric], *overrides: str, resume: bool = True) -> None:
    """Check a registered metric: a number for each event that depends on no other, and `check_resume`.

    Args:
        metric: the class.
        overrides: of its keys, such as `metrics.NAME.k=5`.
        resume: as for `check_model`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("metrics", metric), metric.__qualname__
    made = metric(compose(f"metrics={name}", *overrides).metrics[name])
    logits, targets = _logits(8), _events(8, 1)[:, 0]
    values = made(logits, targets)
    _require(values.shape == (8,), f"{label}: must return (N,) = (8,), not {tuple(values.shape)}")
    parts = [made(Logits(*(channel[part] for channel in logits)), targets[part]) for part in _HALVES]
    same = torch.allclose(values.double(), torch.cat(parts).double())
    _require(same, f"{label}: the figure of an event depends on the other events")
    if resume:
        check_resume(f"metrics={name}", *overrides)


def check_source(source: type[DataSource], *overrides: str, resume: bool = True) -> None:
    """Check a registered source: the same pieces each time, names of their own, in both units, and `check_resume`.

    Args:
        source: the class.
        overrides: of its keys, and of `data` where its pieces are short.
        resume: as for `check_model`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("data", source), source.__qualname__
    made = source(compose(f"data={name}", *overrides).data)
    if type(made).pieces is not DataSource.pieces:
        for unit in TimeUnit:
            pieces, again = list(made.pieces(unit)), list(made.pieces(unit))
            _require(bool(pieces), f"{label}.pieces: yields no piece")
            _require(all(isinstance(piece, Piece) for piece in pieces), f"{label}.pieces: must yield composer.Piece")
            names = [piece.name for piece in pieces]
            _require(len(set(names)) == len(names), f"{label}.pieces: two pieces have the same name")
            units = {piece.events.time_unit for piece in pieces}
            _require(units == {unit}, f"{label}.pieces: the times must be in {unit.name}, as asked for")
            _require(all(map(_same_events, pieces, again)), f"{label}.pieces: yields other pieces the second time")
    if resume:
        check_resume(f"data={name}", *overrides)


def _same_events(one: Piece, other: Piece) -> bool:
    fields = ("pitch", "velocity", "delta_time")
    return all(np.array_equal(getattr(one.events, field), getattr(other.events, field)) for field in fields)


def check_split(split: type[SplitRule], *overrides: str, pieces: Sequence[int] = (120, 90, 100, 110, 95)) -> None:
    """Check a registered split: no window in two parts, the same parts each time, also of windows that are not listed.

    Args:
        split: the class.
        overrides: of `data`.
        pieces: events of each piece.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("split", split), split.__qualname__
    config = compose(f"data.split={name}", "data.window_size=10", *overrides).data
    made, again, computed = (split_windows(pieces, config, 3, computed=flag) for flag in (False, False, True))
    every = set(positions_of(window_runs(pieces, config.window_size)).tolist())
    found: set[int] = set()
    for name_of_part in ("train", "val", "test"):
        parts = [getattr(each, name_of_part) for each in (made, again, computed)]
        windows = [part[np.arange(len(part))].tolist() for part in parts]
        own = set(windows[0])
        _require(windows[0] == windows[1], f"{label}: other {name_of_part} windows the second time")
        _require(own <= every, f"{label}: {name_of_part} holds positions that are no window")
        _require(not own & found, f"{label}: a window is in two parts")
        found |= own
        if not made.train.computed and split.divide is SplitRule.divide:
            _require(own == set(windows[2]), f"{label}: other {name_of_part} windows of a large corpus")


def check_augmentation(augmentation: type[Augmentation], *overrides: str, resume: bool = True) -> None:
    """Check a registered augmentation: a function of turn and target alone, within the classes, and `check_resume`.

    Args:
        augmentation: the class.
        overrides: of its keys.
        resume: as for `check_model`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("augmentation", augmentation), augmentation.__qualname__
    module, data = build([*_SMALL, f"augmentation={name}", *overrides])
    made, tokens = data.augmentation, data.music.tokens
    _require(made is not None, f"{label}: its config says that nothing is varied")
    assert made is not None
    starts = np.arange(0, 64)
    windows = tokens.windows(starts, 12)[..., :3].copy()
    velocities, times = data.music.pieces.played(starts, 12)
    played, turns, targets = Played(velocities, times), starts % 5, starts + 11
    before = windows.copy()
    varied = made.vary(windows, played if made.needs_played else None, turns, targets)
    _require(np.array_equal(windows, before), f"{label}.vary: must leave its argument as it is")
    _require(varied.shape == windows.shape, f"{label}.vary: must return {windows.shape}, not {varied.shape}")
    vocabulary: Vocabulary = data.music.vocabulary
    _require(bool((varied < np.array(vocabulary.sizes)).all()), f"{label}.vary: returns classes beyond the vocabulary")
    order = np.random.default_rng(0).permutation(len(starts))
    moved = Played(velocities[order], times[order]) if made.needs_played else None
    again = made.vary(windows[order], moved, turns[order], targets[order])
    _require(np.array_equal(again, varied[order]), f"{label}.vary: a window depends on its place in the batch")
    if resume:
        check_resume(f"augmentation={name}", *overrides)


def check_rule(rule: type[Rule], *overrides: str) -> None:
    """Check a registered rule of composing: masks of the right shape, a piece independent of the others.

    Args:
        rule: the class.
        overrides: of its keys, such as `sampling.rules.NAME.semitones=7`.

    Raises:
        AssertionError: names what does not hold.
    """
    name, label = registry.name_of("rules", rule), rule.__qualname__
    config = compose(f"rules={name}", *overrides)
    times = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0], dtype=torch.float64)
    made = rule(config.sampling.rules[name], Scope(config.sampling, SIZES[0], 60, times, 2.0))
    masks, pieces = made.masks(), _playing()
    strike = torch.tensor([True, False, True])
    shapes = {"moves": (3, SIZES[0], 2), "waits": (3, SIZES[2])}
    for method, mask in (("moves", masks.moves), ("waits", masks.waits)):
        if mask is None:
            continue
        call: Callable[..., Tensor] = mask

        def result(playing: Playing, rows: Tensor, call: Callable[..., Tensor] = call, method: str = method) -> Tensor:
            return call(playing) if method == "moves" else call(playing, strike[rows])

        found = result(pieces, torch.arange(3))
        label_ = f"{label}.{method}"
        right = found.dtype == torch.bool and np.broadcast_shapes(tuple(found.shape), shapes[method]) == shapes[method]
        _require(right, f"{label_}: must return a bool mask {shapes[method]}, not {found.dtype} {tuple(found.shape)}")
        found = found.expand(shapes[method])
        for row in range(3):
            rows = torch.tensor([row])
            alone = result(pieces.select(rows), rows).expand(1, *shapes[method][1:])
            _require(torch.equal(alone[0], found[row]), f"{label_}: the mask of a piece depends on the other pieces")


def _playing() -> Playing:
    """Return three pieces: silent, with two notes, with one."""
    playing = silence(3, SIZES[0])
    playing.sounding[1, 3] = playing.sounding[1, 7] = playing.sounding[2, 0] = True
    playing.now[1:] = 1.5
    return playing


def check_method(method: type[SamplingMethod]) -> None:
    """Check a registered sampling method: classes that may be chosen, a row independent of the others.

    Args:
        method: the class.

    Raises:
        AssertionError: names what does not hold.
    """
    registry.name_of("method", method)
    label, made, cut = method.__qualname__, method(), Cut(1.0, None, None, None)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 9, generator=generator)
    logits[:, ::2] = -torch.inf
    uniform = torch.rand(64, dtype=torch.float64, generator=generator)
    before = torch.random.get_rng_state()
    picked = made.pick(logits, cut, uniform)
    _require(picked.shape == (64,), f"{label}.pick: must return (...) = (64,), not {tuple(picked.shape)}")
    _require(bool((picked % 2 == 1).all()), f"{label}.pick: chooses a class of logit -inf")
    alone = torch.cat([made.pick(logits[row : row + 1], cut, uniform[row : row + 1]) for row in range(64)])
    _require(torch.equal(alone, picked), f"{label}.pick: a row depends on the others")
    several = made.pick(logits.view(8, 8, 9), cut, uniform.view(8, 8)).flatten()
    _require(torch.equal(several, picked), f"{label}.pick: must work on logits (..., V)")
    drawn = not torch.equal(before, torch.random.get_rng_state())
    _require(not drawn, f"{label}.pick: draws random numbers other than `uniform`")


def check_callback(callback: Any, *overrides: str) -> None:
    """Check a registered callback, with Lightning's table as its logger: `check_resume`.

    Args:
        callback: the class or function.
        overrides: of its keys.

    Raises:
        AssertionError: weights or metrics differ after resuming.
    """
    check_resume(f"callbacks={registry.name_of('callbacks', callback)}", "logger=csv", *overrides)


def check_logger(logger: Any, *overrides: str) -> None:
    """Check a registered logger: a training with it, resumed, has the same weights and metrics (`check_resume`).

    Args:
        logger: the class or function.
        overrides: of its keys.

    Raises:
        AssertionError: weights or metrics differ after resuming.
    """
    check_resume(f"logger={registry.name_of('logger', logger)}", *overrides)
