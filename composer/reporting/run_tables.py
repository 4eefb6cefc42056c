"""Text about a run: its description at the start, and tables of figures with their split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from composer import plugins, terminal
from composer.composing.setting import Setting
from composer.config.data import DataConfig, EncodingConfig, TimeUnit, split_title
from composer.config.limits import CHANNELS
from composer.config.training import TrainConfig
from composer.corpus.duplicates import Groups
from composer.data.encoded_rhythm import Rhythm
from composer.data.leakage import Leak
from composer.data.prepare import PreparedData
from composer.data.splits import split_rule
from composer.evaluation import legend
from composer.evaluation.baselines import Baselines, best, skill
from composer.files import display_path, program
from composer.runs.layout import SAMPLES

if TYPE_CHECKING:
    from composer.nets.network import Network

UNITS = """\
loss in nats per event; accuracy is the mean of the three channels, joint is all three right
skill: where the accuracy lies between the best baseline of the split (0) and perfect (1)"""

# Groups of near-duplicate pieces, and pieces of one, that are named.
_MAX_GROUPS = 5
# Times the share of windows that was asked for.
_MUCH = 1.5
# Titles of the rows of `Baselines`.
_BASELINES = {
    "majority": "majority",
    "repeat_last": "repeat last",
    "markov": "Markov order {order}",
    "nearest": "nearest context",
}
_ACCURACIES = ("accuracy", *(f"accuracy_{channel}" for channel in (*CHANNELS, "joint")))
_COLUMNS = ("loss", "accuracy", *CHANNELS, "joint", "skill")
# From here on a column has a decimal, or none.
_LARGE, _HUGE = 1_000, 10_000


def table(
    rows: list[tuple[str, str, str, dict[str, Any]]], baselines: Baselines, width: int | None = None
) -> list[str]:
    """Return lines of a table: a network's rows with their skill, then the baselines of the same splits.

    Args:
        rows: a label, the title of the split, its key, and the metrics that hold `loss/KEY` and the accuracies.
        baselines: as measured; empty where there are none.
        width: columns of a line at most; None is any number.
    """
    header, cells = accuracy_rows(rows, baselines)
    return terminal.table(header, cells, labels=2, width=width)


def accuracy_rows(
    rows: list[tuple[str, str, str, dict[str, Any]]], baselines: Baselines
) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the same table as text, for a page; the arguments are those of `table`."""
    return ["", "split", *_COLUMNS], rows_of_text(list(_lines(rows, baselines)))


def rows_of_text(rows: Sequence[tuple[str, str, Sequence[float | None]]]) -> list[list[str]]:
    """Return rows of two labels and figures as text, with the same number of decimals in all figures of a column."""
    columns = [column_text(column) for column in zip(*(figures for *_, figures in rows), strict=True)]
    return [[label, name, *cells] for (label, name, _), *cells in zip(rows, *columns, strict=True)]


def column_text(values: Sequence[float | None]) -> list[str]:
    """Return the figures of a column as text, with as many decimals as the largest of them allows: three, one or none.

    A figure that rounds to zero has no sign.
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    places = 3 if largest < _LARGE else 1 if largest < _HUGE else 0
    return ["-" if value is None else f"{value:z,.{places}f}" for value in values]


def _lines(
    rows: list[tuple[str, str, str, dict[str, Any]]], baselines: Baselines
) -> Iterator[tuple[str, str, list[float | None]]]:
    """Yield label, split and figures of each row: loss, accuracies, skill."""
    for label, name, key, values in rows:
        if f"accuracy/{key}" not in values:
            continue  # the last epoch was not validated
        yield label, name, _values(key, values, _skill(values[f"accuracy/{key}"], baselines, key))
    names = {key: name for _, name, key, _ in rows}
    for baseline, figures in baselines.items():
        label = _BASELINES[baseline].format(**figures)
        for key, name in names.items():
            if f"accuracy/{key}" in figures:
                yield label, name, _values(key, figures, None)
                label = ""


def _values(key: str, values: dict[str, Any], skill_score: float | None) -> list[float | None]:
    return [values.get(f"loss/{key}"), *(values[f"{name}/{key}"] for name in _ACCURACIES), skill_score]


def _skill(accuracy: float, baselines: Baselines, key: str) -> float | None:
    reference = best(baselines, key)
    return None if reference is None else skill(accuracy, reference)


def split_name(key: str, config: TrainConfig, pieces: int) -> str:
    """Return the name of a split for a reader: which windows, and how they were chosen."""
    return split_title(key, config.data.split, pieces)


def describe(config: TrainConfig, folder: Path, music: PreparedData, model: Network) -> str:
    """Return the description of a run that starts: data, classes, windows, leakage and model."""
    events = music.events
    pieces = f"{len(music.pieces)} pieces" if len(music.pieces) > 1 else music.pieces.names[0]
    parts = music.splits
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return "\n".join(
        [
            f"run        {display_path(folder)}",
            f"data       {pieces}: {events:,} events of part {config.data.part} (data.part)",
            *([f"left out   {left_out}"] if (left_out := str(music.pieces.left_out)) else []),
            *group_lines(music.groups, config.data),
            f"classes    note {model.sizes[0]}, velocity {model.sizes[1]}, time {model.sizes[2]}; "
            f"time error: {music.time_error}",
            *rhythm_lines(music.rhythm, music.vocabulary.time_unit, config.encoding),
            f"windows    {len(parts.train):,} train, {len(parts.val):,} val ({config.data.split} split), "
            f"{len(parts.test):,} test",
            *held_out_lines(music, config.data),
            *_drawn(config, music),
            *(f"{'' if k else 'leak':<11}{line}" for k, line in enumerate(leak_lines(music.leak, config.data.split))),
            f"model      {parameters:,} parameters, {_penalty(config)}",
        ]
    )


def _penalty(config: TrainConfig) -> str:
    regularizer = config.regularizer
    return "no regularizer" if regularizer.name == "none" else f"regularizer {regularizer.name} {regularizer.weight:g}"


def held_out_lines(music: PreparedData, data: DataConfig) -> list[str]:
    """Return which whole pieces are held out, and their share of the windows; none where parts of pieces are."""
    if not split_rule(data.split).whole_pieces:
        return []
    windows = {"val": music.splits.val, "test": music.splits.test}
    total = len(music.splits.train) + sum(map(len, windows.values()))
    late = 0 if data.first_target is None else data.first_target - data.window_size
    names, lines = music.pieces.names, []
    for part, held in windows.items():
        if len(held):
            own = np.flatnonzero(held.contains(music.pieces.offsets + late))
            listed = _listed([names[number] for number in own])
            lines.append(f"{part} {len(held) / total:.0%} of the windows: {listed}")
    if data.split == "by_piece" and len(windows["val"]) > _MUCH * data.val_fraction * total:
        lines.append(f"data.val_fraction={data.val_fraction:g} is a share of the pieces, not of their windows")
    return [f"{'' if k else 'held out':<11}{line}" for k, line in enumerate(lines)]


def rhythm_lines(rhythm: Rhythm | None, unit: TimeUnit, encoding: EncodingConfig) -> list[str]:
    """Return what encoding does to the rhythm, and in which unit times are; none where there are no beats."""
    if rhythm is None:
        return []
    chosen = "" if encoding.time_unit else ", chosen by the music (encoding.time_unit)"
    return [f"rhythm     {rhythm}", f"           times in {unit.name}{chosen}"]


def _drawn(config: TrainConfig, music: PreparedData) -> list[str]:
    """Return which windows are sampled: those of an epoch, the scored ones, and those whose leak was measured."""
    data, parts, told = config.data, music.splits, []
    if data.windows_per_epoch is not None:
        told.append(f"{data.windows_per_epoch:,} per epoch (data.windows_per_epoch)")
    if data.eval_windows is not None and max(len(parts.val), len(parts.test)) > data.eval_windows:
        told.append(f"{data.eval_windows:,} of val and test scored (data.eval_windows)")
    if music.leak.windows < len(parts.val):
        told.append(f"leak measured on {music.leak.windows:,} val windows")
    return [f"sampled    {', '.join(told)}"] if told else []


def result_rows(split: str, summary: dict[str, Any]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The rows of a finished run's table: its weights after the last epoch, and those of the lowest validation loss."""
    keys = ["train", "val", *(["test"] if summary["windows_test"] else [])]
    names = {key: split_title(key, split, summary["pieces"]) for key in keys}
    best = summary["best"]
    rows = [("" if k else "final weights", names[key], key, summary) for k, key in enumerate(keys)]
    return rows + [
        ("" if k else f"best, epoch {best['epoch']}", names[key], key, best) for k, key in enumerate(keys[1:])
    ]


def group_lines(groups: Groups, data: DataConfig, names: Sequence[str] = ()) -> list[str]:
    """Return how many of several pieces are near-duplicates, and by `names` which; no line for a single piece."""
    pieces, by = len(groups.of), data.group_by
    if pieces == 1:
        return []
    if data.group_similarity is None:
        limit = "(data.group_similarity=null)"
        found = ["not searched for copies"]
        if by is None:
            return [f"groups     not searched {limit}: copies may stand on both sides of the split"]
    else:
        limit = f"(data.group_similarity={data.group_similarity:g})"
        near = _counted(groups.near_copies, "near-copy", "near-copies")
        found = [f"{_counted(groups.copies, 'copy', 'copies')} and {near}"]
    if by is not None:
        found.insert(0, f"{groups.named:,} by data.group_by={by}")
    if groups.count == pieces:
        nothing = "no copies or near-copies" if by is None else ", ".join(found)
        return [f"groups     none: {nothing} among the {pieces:,} pieces {limit}"]
    # A file names the parts whatever the pieces are like; a warning tells where it divides a group.
    kept = "" if data.split == "file" else ", held out with theirs"
    lines = [f"groups     {groups.count:,} of {pieces:,} pieces: {', '.join(found)}{kept} {limit}"]
    several = groups.named_by(names) if names else []
    lines += [f"           {_listed(group)}" for group in several[:_MAX_GROUPS]]
    if len(several) > _MAX_GROUPS:
        lines.append(f"           and {len(several) - _MAX_GROUPS:,} more")
    return lines


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(names[:_MAX_GROUPS])
    return told if len(names) <= _MAX_GROUPS else f"{told} and {len(names) - _MAX_GROUPS:,} more"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def leak_lines(leak: Leak, split: str) -> list[str]:
    """Return how much of the validation windows training has seen, and what their figures mean."""
    rule = split_rule(split)
    lines = [
        f"{leak.by_index:.1%} of the val targets also occur in a training window",
        f"{leak.by_content:.1%} of the val windows occur in training note for note, {leak.by_transposition:.1%} "
        "counting transpositions",
        rule.meaning,
    ]
    if not rule.reuses_passages and leak.by_transposition > 0:
        lines[-1] += f"; {leak.by_transposition:.1%} is repetition that can be memorised"
    return lines


def report(config: TrainConfig, folder: Path, summary: dict[str, Any]) -> str:
    """Return the final table of a run: figures by split, and where its files are."""
    samples = sorted((folder / SAMPLES).glob(f"{config.name}-seed*.mid"))
    width = terminal.width_of()
    figures = table(result_rows(config.data.split, summary), summary["baselines"], width)
    lines = [
        UNITS,
        "",
        f"composed     {display_path(samples[0])}" if samples else "",
        *drawn(summary.get("sampling")),
        *copied(summary.get("copying")),
        *judged(summary.get("quality")),
        f"compose more {program('composer')} generate {display_path(folder)}{plugins.argument(config.plugins)}",
        f"listen       {program('composer')} report {display_path(folder)}{plugins.argument(config.plugins)}",
        f"curves       {program('tensorboard')} --logdir {display_path(folder.parent)}",
    ]
    # Text is wrapped also where it goes to a file, as its lines are long; a table is not.
    return "\n".join(["", *figures, terminal.wrap("\n".join(lines), width or terminal.DEFAULT_WIDTH)])


def drawn(sampling: dict[str, Any] | None) -> list[str]:
    """Return one line on the temperature and top_p that a run has chosen; none where the config gives them."""
    if not sampling or not sampling.get("grid"):
        return []
    rows = {Setting.from_plain(row): row for row in sampling["grid"]}
    setting, plain = Setting.from_plain(sampling), rows.get(Setting())
    music = "training music" if sampling["held_out"] is None else f"held-out music, {sampling['held_out']}"
    line = f"sampled at   {setting}, of {len(rows)} settings the one whose trial pieces are nearest to {music}: "
    line += _near(rows[setting])
    if plain is not None and setting != Setting():
        line += f" ({Setting()}: {_near(plain)})"
    return [line]


def _near(row: dict[str, float | None]) -> str:
    apart = "-" if row["distance"] is None else f"{row['distance']:.2f}"
    return f"distance {apart}" + ("" if row["copied"] is None else f", {row['copied']:.0%} copied")


def copied(copying: dict[str, Any] | None) -> list[str]:
    """Return a line on the share that composed pieces copy and that held-out music shares; none without pieces."""
    if not copying:
        return []
    human, split = copying["held_out"], copying["split"]
    beside = f"{_quoted(human)} of held-out music, {split}" if human else "no held-out music to compare with"
    mine = copying["composed"]
    longest = f"longest {mine['longest_notes']:.0f} notes, {mine['longest_seconds']:.1f} s"
    return [f"copied       {_quoted(mine)} of its runs of 8 notes occur in the training music ({beside}); {longest}"]


def judged(quality: dict[str, Any] | None) -> list[str]:
    """Return lines on the distance of composed pieces from human music, and warnings; none without pieces."""
    if not quality:
        return []
    sentence = legend.distance_sentence(quality)
    lines = [f"quality      {sentence}"] if sentence else []
    return lines + [f"warning      {warning}" for warning in legend.warnings(quality)]


def _quoted(figures: dict[str, float]) -> str:
    return f"{figures['interval_8']:.0%}" if "interval_8" in figures else "none"
