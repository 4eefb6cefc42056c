"""Scoring a trained run on music it was not trained on: what `composer evaluate` does."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer import config as configs
from composer.baselines import Baselines, Examples, measure
from composer.errors import ComposerError
from composer.events import Piece
from composer.generate import Composer, checkpoint_path
from composer.losses import score
from composer.music import read_pieces, split_pieces
from composer.report import UNITS, split_name, table
from composer.rundir import shown, write_json
from composer.schema import DataConfig, EvaluateConfig, Source
from composer.splits import Indices, window_starts
from composer.windows import BatchOrder, Windows, loader

_BATCH = 1024


def evaluate(composer: Composer, path: str | None = None) -> dict[str, Any]:
    """Metrics of a network on its own held-out windows, or on all windows of other files.

    Args:
        composer: a loaded run.
        path: a MIDI file or folder; None scores the validation and test windows of the run's own data.

    Returns:
        Metrics by key, ending in `/val` and `/test`, or in `/data` for a path; `data_sha256`, and `same_data`: whether
        the content is that of the training; `baselines` fitted on the training windows, empty where these are gone.

    Raises:
        ComposerError: the files cannot be used.
    """
    config, data = composer.config, composer.config.data
    if path is not None:
        data = dataclasses.replace(data, source=Source.midi, path=path)
    pieces, tokens, sha256 = _read(composer, data)
    lengths = [len(piece.events) for piece in pieces]
    same = sha256 == composer.origin.data_sha256
    parts: dict[str, Indices]
    if path is None:
        if not same:
            warnings.warn(
                f"data.path={data.path}: its content is not what this run was trained on (SHA-256 {sha256[:12]}, was "
                f"{composer.origin.data_sha256[:12]}); what is called held-out here may have been trained on",
                stacklevel=2,
            )
        splits, _ = split_pieces(pieces, data, config.seed)
        parts = {"val": splits.val, "test": splits.test}
        baselines = measure(tokens, splits, data.window_size, config.seed)
    else:
        if same:
            warnings.warn(f"data.path={path}: is the run's training data; this is no held-out score", stacklevel=2)
        parts = {"data": np.concatenate(window_starts(lengths, data.window_size, data.first_target))}
        baselines = _of_training(composer, Examples(tokens, parts["data"], data.window_size))
    results: dict[str, Any] = {"data_sha256": sha256, "same_data": same, "pieces": len(lengths)}
    for name, starts in parts.items():
        windows = Windows(tokens, starts, data.window_size)
        order = BatchOrder(len(starts), _BATCH, config.seed, shuffle=False)
        results[f"windows_{name}"] = len(starts)
        results |= score(composer.model, loader(windows, order, 0), name)
    return {**results, "baselines": baselines}


def _read(composer: Composer, data: DataConfig) -> tuple[list[Piece], NDArray[np.uint8], str]:
    """The pieces, (N, 3) classes of all, and the digest of the files."""
    pieces, sha256, _ = read_pieces(data, composer.config.encoding)
    tokens = np.concatenate([composer.vocabulary.encode(piece.events) for piece in pieces])
    return pieces, tokens, sha256


def _of_training(composer: Composer, scored: Examples) -> Baselines:
    """Baselines fitted on the run's training windows; none, with a warning, where these cannot be had any more."""
    config = composer.config
    try:
        pieces, tokens, sha256 = _read(composer, config.data)
        if sha256 != composer.origin.data_sha256:
            raise ComposerError(f"data.path={config.data.path}: its content is not what this run was trained on")
    except ComposerError as error:
        warnings.warn(f"no baselines, which need the run's training data ({error})", stacklevel=3)
        return {}
    splits, _ = split_pieces(pieces, config.data, config.seed)
    return measure(tokens, splits, config.data.window_size, config.seed, scored)


def run(config: EvaluateConfig) -> Path:
    """Score as configured, print a table and write `evaluation.json`; its path."""
    composer = Composer.load(config.run, config.checkpoint)
    results = evaluate(composer, config.data.path)
    folder = Path(config.output) if config.output else Path("outputs") / "evaluate" / configs.run_id()
    path = folder / "evaluation.json"
    write_json(path, {"run": config.run, "checkpoint": config.checkpoint, **results})
    found = [key for key in ("val", "test", "data") if results.get(f"windows_{key}")]
    rows = [
        ("" if k else "network", split_name(key, composer.config, results["pieces"]), key, results)
        for k, key in enumerate(found)
    ]
    print(f"scored     {checkpoint_path(Path(config.run), config.checkpoint)}")
    print("\n".join([*table(rows, results["baselines"]), UNITS]))
    print(f"written to {shown(path)}")
    return path
