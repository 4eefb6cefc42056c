"""Scoring a trained run on music it was not trained on: what `composer evaluate` does."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from composer import config as configs
from composer.baselines import Baselines, Examples, StoredExamples, examples, measure
from composer.corpus import read_corpus
from composer.datamodule import scored
from composer.errors import ComposerError
from composer.generate import Composer, checkpoint_path
from composer.losses import score
from composer.ranges import Indices, Ranges, Starts
from composer.report import UNITS, split_name, table
from composer.rundir import shown, write_json
from composer.schema import EvaluateConfig, Source, Split
from composer.splits import listed, window_runs
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
        if data.split is Split.file:
            # What the training's file says of other files is nothing.
            data = dataclasses.replace(data, split=Split.shuffled, split_file=None)
    corpus = read_corpus(data, config.encoding)
    tokens, sha256 = corpus.tokens(composer.vocabulary), corpus.sha256
    same = sha256 == composer.origin.data_sha256
    parts: dict[str, Indices | Starts]
    if path is None:
        if not same:
            warnings.warn(
                f"data.path={data.path}: its content is not what this run was trained on (SHA-256 {sha256[:12]}, was "
                f"{composer.origin.data_sha256[:12]}); what is called held-out here may have been trained on",
                stacklevel=2,
            )
        splits, _ = corpus.split(data, config.seed)
        parts = {"val": splits.val, "test": splits.test}
        baselines = measure(tokens, splits, data.window_size, config.seed)
    else:
        if same:
            warnings.warn(f"data.path={path}: is the run's training data; this is no held-out score", stacklevel=2)
        runs = window_runs(corpus.pieces.lengths.tolist(), data.window_size, data.first_target, corpus.offsets.tolist())
        parts = {"data": Ranges(runs) if corpus.lazy else listed(runs)}
        baselines = _of_training(composer, examples(tokens, parts["data"], data.window_size))
    results: dict[str, Any] = {"data_sha256": sha256, "same_data": same, "pieces": len(corpus.pieces)}
    for name, part in parts.items():
        starts = scored(part, data, config.seed)
        windows = Windows(tokens, starts, data.window_size)
        order = BatchOrder(len(starts), _BATCH, config.seed, shuffle=False)
        results[f"windows_{name}"] = len(starts)
        results |= score(composer.model, loader(windows, order, 0), name)
    return {**results, "baselines": baselines}


def _of_training(composer: Composer, asked: Examples | StoredExamples) -> Baselines:
    """Baselines fitted on the run's training windows; none, with a warning, where these cannot be had any more."""
    config = composer.config
    try:
        corpus = read_corpus(config.data, config.encoding)
        if corpus.sha256 != composer.origin.data_sha256:
            raise ComposerError(f"data.path={config.data.path}: its content is not what this run was trained on")
    except ComposerError as error:
        warnings.warn(f"no baselines, which need the run's training data ({error})", stacklevel=3)
        return {}
    splits, _ = corpus.split(config.data, config.seed)
    return measure(corpus.tokens(composer.vocabulary), splits, config.data.window_size, config.seed, asked)


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
