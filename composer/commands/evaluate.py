"""`composer evaluate`: score a run on held-out music or other files."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from composer import terminal
from composer.composing.composer import Composer
from composer.config import compose as configs
from composer.config.commands import ContextConfig, EvaluateConfig
from composer.config.data import DataConfig, OnError, of_midi
from composer.config.limits import CHANNELS
from composer.corpus.corpus import Corpus, read_corpus
from composer.data.bar_position import with_bars
from composer.data.datamodule import scored
from composer.data.prepare import split_corpus
from composer.data.splits import Splits, window_runs
from composer.data.tokens import encode_pieces
from composer.data.window_sets import Indices, WindowSet, window_set
from composer.data.windows import BatchOrder, Windows
from composer.errors import ComposerError
from composer.evaluation.baselines import MAX_COUNTED, Baselines, Examples, measure, skill
from composer.evaluation.context import probe
from composer.evaluation.reference import ReferenceMusic
from composer.evaluation.samples import judge
from composer.evaluation.scores import Seconds, over_pieces, score_windows
from composer.evaluation.scores import pieces_csv as pieces_table
from composer.evaluation.whole_pieces import Nats, figures, first_event, held_out, score
from composer.files import display_path, user_path, write_json, write_text
from composer.progress import Counter, say, working
from composer.reporting import evaluation_text as words
from composer.reporting.run_tables import UNITS, split_name, table
from composer.runs.layout import checkpoint_path, run_path
from composer.training.terms import make_metrics

# A run's training data and its split.
Training = tuple[Corpus, Splits]
_BATCH = 1024
_BASELINES = "fitting the baselines without a network"
_RESAMPLES = 10_000
# Figures of every piece; the JSON file has what they say together.
PIECES = "pieces.csv"


def evaluate(
    composer: Composer,
    path: str | None = None,
    context: ContextConfig | None = None,
    resamples: int = _RESAMPLES,
    samples: int = 0,
) -> dict[str, Any]:
    """Return figures of a network on its held-out windows or on other files, and of its composed pieces.

    Args:
        composer: a loaded run.
        path: a MIDI file or folder; None scores the validation and test windows of the run's own data.
        context: how far to probe what the network gains from reading more; None does not.
        resamples: draws of the bootstrap over pieces.
        samples: pieces that are composed, as the run's `sampling` says, and held against its training music.

    Returns:
        Figures by key, ending in `/val` and `/test`, or in `/data` for a path; `data_sha256`, and `same_data`: whether
        the content is that of the training; `baselines` fitted on the training windows and the `skill` over each, empty
        where these are gone; by split `calibration`, `by_piece` (by the piece's number), `over_pieces`, `context` and
        `whole_pieces` (docs/evaluate.md); `copying` and `quality` of the composed pieces, as `summary.json` has them,
        None without.

    Raises:
        ComposerError: the files cannot be used, or no target has as much before it as the longest context.
    """
    config, data = composer.config, _asked(composer.config.data, path)
    with working("reading the music"):
        corpus = read_corpus(data, composer.encoding)
    tokens, sha256 = encode_pieces(corpus.pieces, composer.vocabulary), corpus.sha256
    same = sha256 == composer.origin.data_sha256
    parts: dict[str, WindowSet]
    if path is None:
        if not same:
            warnings.warn(
                f"{data.named}: its content is not what this run was trained on (SHA-256 {sha256[:12]}, was "
                f"{composer.origin.data_sha256[:12]}); what is called held-out here may have been trained on",
                stacklevel=2,
            )
        splits, _ = split_corpus(corpus, data, config.seed)
        parts = {"val": splits.val, "test": splits.test}
        with working(_BASELINES):
            baselines = measure(tokens, splits, data.window_size, config.seed)
        training: Training | None = (corpus, splits)
    else:
        if same:
            warnings.warn(f"data.path={path}: is the run's training data; this is no held-out score", stacklevel=2)
        pieces = corpus.pieces
        runs = window_runs(pieces.lengths.tolist(), data.window_size, data.first_target, pieces.offsets.tolist())
        parts = {"data": window_set(runs, computed=pieces.on_disk)}
        training = _training(composer)
        asked = Examples(tokens, parts["data"], data.window_size)
        with working(_BASELINES):
            baselines = {} if training is None else _of_training(composer, training, asked)
    results: dict[str, Any] = {"data_sha256": sha256, "same_data": same, "pieces": len(corpus.pieces)}
    by_split: dict[str, dict[str, Any]] = {
        name: {} for name in ("calibration", "by_piece", "over_pieces", "context", "whole_pieces")
    }
    first: list[Nats] | None = None  # the same for every split
    seconds, metrics = Seconds(corpus, data), make_metrics(config.metrics)
    read = with_bars(tokens, corpus.pieces) if composer.model.bar_position else tokens
    for name, part in parts.items():
        windows = Windows(read, scored(part, data, config.seed), data.window_size)
        results[f"windows_{name}"] = len(windows)
        if not len(windows):
            continue
        order = BatchOrder(len(windows), _BATCH, config.seed, shuffle=False)
        scores = score_windows(composer.model, windows, _told(name, order), corpus.pieces.offsets, seconds, metrics)
        by_piece = scores.pieces(corpus.pieces.names)
        results |= scores.figures(name)
        by_split["calibration"][name] = scores.reliability.bins()
        by_split["by_piece"][name] = by_piece
        with working(f"computing the intervals over the pieces of {name}"):
            by_split["over_pieces"][name] = over_pieces(by_piece, resamples)
        if context is not None and context.windows:
            with working(f"scoring {name} with less and more context"):
                probed = probe(composer.model, windows, corpus.pieces.offsets, context, config.seed)
            by_split["context"][name] = probed.to_plain()
        if numbers := held_out(part, corpus, data):
            first = first or _first_event(composer, training)
            size = data.window_size
            with working(f"scoring the whole pieces of {name}"):
                whole = score(composer.model, read, corpus, numbers, size, first, seconds, config.seed)
            by_split["whole_pieces"][name] = figures(whole, len(numbers))
    composed = _composed(composer, training, samples)
    return {**results, "baselines": baselines, "skill": _skills(results, baselines), **by_split, **composed}


def _told(split: str, order: BatchOrder) -> Iterator[Indices]:
    """Yield the batches of a split, and show the progress where that takes long."""
    counter = Counter(f"scoring {split}:", "batches", len(order))
    for batch in order:
        yield batch
        counter.advance()
    counter.close()


def _skills(results: dict[str, Any], baselines: Baselines) -> dict[str, dict[str, float | None]]:
    """Return the skill of each accuracy over each baseline that has one."""
    return {
        name: {
            key: skill(results[key], value)
            for key, value in figures.items()
            if key.startswith("accuracy") and key in results
        }
        for name, figures in baselines.items()
    }


def _asked(data: DataConfig, path: str | None) -> DataConfig:
    """Return the config of the data that is scored: the run's own, or the usable files of a path."""
    if path is None:
        return data
    # The split file of the training data does not apply to other files.
    split = "shuffled" if data.split == "file" else data.split
    unnamed = dataclasses.replace(data, split=split, split_file=None, group_by=None)
    return dataclasses.replace(of_midi(unnamed, path), on_error=OnError.skip)


def _training(composer: Composer) -> Training | None:
    """Return the run's training data and its split; None, with a warning, where the data is gone."""
    config = composer.config
    try:
        corpus = read_corpus(config.data, composer.encoding)
        if corpus.sha256 != composer.origin.data_sha256:
            raise ComposerError(f"{config.data.named}: its content is not what this run was trained on")
    except ComposerError as error:
        warnings.warn(f"no baselines and no copying, which need the run's training data ({error})", stacklevel=3)
        return None
    return corpus, split_corpus(corpus, config.data, config.seed)[0]


def _first_event(composer: Composer, training: Training | None) -> list[Nats]:
    """Return the probabilities of a piece's first event by the run's training windows."""
    events = torch.zeros((0, len(CHANNELS)), dtype=torch.uint8)
    if training is not None:
        corpus, splits = training
        tokens = encode_pieces(corpus.pieces, composer.vocabulary)
        drawn = Examples(tokens, splits.train, composer.config.data.window_size).sample(
            MAX_COUNTED, composer.config.seed, 0
        )
        events = torch.from_numpy(drawn.windows[:, -1])
    return first_event(events, composer.vocabulary.sizes)


def _of_training(composer: Composer, training: Training, asked: Examples) -> Baselines:
    """Return baselines fitted on the run's training windows."""
    (corpus, splits), config = training, composer.config
    tokens = encode_pieces(corpus.pieces, composer.vocabulary)
    return measure(tokens, splits, config.data.window_size, config.seed, asked)


def _composed(composer: Composer, training: Training | None, samples: int) -> dict[str, Any]:
    """Return copying and quality of `samples` composed pieces."""
    if not samples or training is None:
        return {"copying": None, "quality": None}
    (corpus, splits), config = training, composer.config
    with working(f"composing {samples} pieces"):
        pieces = composer.compose(dataclasses.replace(config.sampling, n=samples), config.seed)
    with working("measuring what they copy and how they differ from human music"):
        return judge(pieces, ReferenceMusic(corpus.pieces, splits, config.data, config.seed)).to_plain()


def run(config: EvaluateConfig) -> Path:
    """Score as configured, print the figures and write a folder; return the path of its `evaluation.json`."""
    with working("reading the network"):
        composer = Composer.load(config.run, config.checkpoint)
    results = evaluate(composer, config.data.path, config.context, config.resamples, config.samples)
    folder = user_path(config.output) if config.output else Path("outputs") / "evaluate" / configs.run_id()
    path = folder / "evaluation.json"
    scored_splits = [key for key in ("val", "test", "data") if results.get(f"windows_{key}")]
    names = {key: split_name(key, composer.config, results["pieces"]) for key in scored_splits}
    rows = [("" if k else "network", name, key, results) for k, (key, name) in enumerate(names.items())]
    say(f"scored     {checkpoint_path(run_path(config.run), config.checkpoint)}")
    width = terminal.width_of()
    say("\n".join([*table(rows, results["baselines"], width), UNITS, "", *words.lines(results, names, width)]))
    kept = {key: value for key, value in results.items() if key != "by_piece"}
    write_json(path, {"run": config.run, "checkpoint": config.checkpoint, "data_path": config.data.path, **kept})
    write_text(folder / PIECES, pieces_table(results["by_piece"]))
    made = [path.name, PIECES]
    if config.figures:
        # Imported late: scoring needs no matplotlib.
        from composer.reporting.evaluation_figures import draw_all

        with working("drawing the figures"):
            made += draw_all(results, names, composer.config.data.window_size, folder)
    say(f"written to {display_path(folder)}: {', '.join(made)}")
    return path
