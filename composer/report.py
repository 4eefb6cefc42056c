"""What a command tells a person about a run: what it is at the start, and tables of figures with their split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.baselines import Baselines, best, skill
from composer.music import Music
from composer.rundir import SAMPLES, program, shown
from composer.schema import CHANNELS, DataConfig, Split, TrainConfig
from composer.similarity import Groups
from composer.splits import Leak

if TYPE_CHECKING:
    from composer.model import ThreeHeadLSTM

UNITS = """\
loss in nats an event; accuracy is the mean of the three channels, joint is all three right
skill: the accuracy's way from the split's best baseline (0) to perfect (1), below 0 worse than it"""

# The rows of `Baselines` as said to a person.
_BASELINES = {
    "majority": "majority",
    "repeat_last": "repeat last",
    "markov": "Markov order {order}",
    "nearest": "nearest context",
}
_ACCURACIES = ("accuracy", *(f"accuracy_{channel}" for channel in (*CHANNELS, "joint")))
_WIDTHS = {"accuracy": 10, "note": 8, "velocity": 10, "time": 8, "joint": 8, "skill": 8}


def table(rows: list[tuple[str, str, str, dict[str, Any]]], baselines: Baselines) -> list[str]:
    """Lines of a table: a network's rows with their skill, then the baselines of the same splits.

    Args:
        rows: a label, the split as said to a person, its key, and the metrics that hold `loss/KEY` and the accuracies.
        baselines: as measured; empty where there are none.
    """
    lines = [f"{'':<17}{'split':<24}{'loss':>7}" + "".join(f"{name:>{width}}" for name, width in _WIDTHS.items())]
    for label, name, key, values in rows:
        lines.append(_row(label, name, key, values, _skill(values[f"accuracy/{key}"], baselines, key)))
    names = {key: name for _, name, key, _ in rows}
    for baseline, figures in baselines.items():
        label = _BASELINES[baseline].format(**figures)
        for key, name in names.items():
            if f"accuracy/{key}" in figures:
                lines.append(_row(label, name, key, figures, None))
                label = ""
    return lines


def _row(label: str, name: str, key: str, values: dict[str, Any], skill_score: float | None) -> str:
    figures = [*(values[f"{name}/{key}"] for name in _ACCURACIES), skill_score]
    cells = "".join(_cell(figure, width) for figure, width in zip(figures, _WIDTHS.values(), strict=True))
    return f"{label:<17}{name:<24}{_cell(values.get(f'loss/{key}'), 7)}{cells}"


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.3f}"


def _skill(accuracy: float, baselines: Baselines, key: str) -> float | None:
    reference = best(baselines, key)
    return None if reference is None else skill(accuracy, reference)


def split_name(key: str, config: TrainConfig, pieces: int) -> str:
    """A split of so many pieces as said to a person: which windows, and how they were chosen."""
    held_out = "block" if pieces == 1 else "pieces"
    return {"val": f"val ({config.data.split.name})", "test": f"test (held-out {held_out})"}.get(key, key)


def describe(config: TrainConfig, folder: Path, music: Music, model: ThreeHeadLSTM) -> str:
    """What is about to be trained, on what, and how far the validation windows leak."""
    events = len(music.tokens)
    pieces = f"{len(music.pieces)} pieces" if len(music.pieces) > 1 else music.pieces[0].name
    parts = music.splits
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return "\n".join(
        [
            f"run        {shown(folder)}",
            f"data       {pieces}: {events:,} events of part {config.data.part} (data.part)",
            *group_lines(music.groups, config.data),
            f"classes    note {model.sizes[0]}, velocity {model.sizes[1]}, time {model.sizes[2]}; "
            f"time round trip: {music.time_error}",
            f"windows    {len(parts.train):,} train, {len(parts.val):,} val ({config.data.split.name} split), "
            f"{len(parts.test):,} test",
            *(f"{'' if k else 'leak':<11}{line}" for k, line in enumerate(leak_lines(music.leak, config.data.split))),
            f"model      {parameters:,} parameters, regularizer {config.regularizer.name.name} "
            f"{config.regularizer.weight:g}",
        ]
    )


def group_lines(groups: Groups, data: DataConfig) -> list[str]:
    """How many of several pieces are alike; nothing of a single one."""
    pieces = len(groups.of)
    if pieces == 1:
        return []
    if data.group_similarity is None:
        return ["groups     not looked for (data.group_similarity=null): copies may stand on both sides of the split"]
    return [
        f"groups     {groups.count:,} of {pieces:,} pieces: {groups.copies:,} copies and {groups.near_copies:,} "
        f"near-copies stay with theirs (data.group_similarity={data.group_similarity:g})"
    ]


# What a validation figure says, by split; docs/data.md has it at length.
_MEANING = {
    Split.shuffled: "val figures tell how well gaps in heard passages are filled, not how well new music is predicted",
    Split.blocked: "val figures tell how well a passage that was not heard is predicted, in pieces that were",
    Split.by_piece: "val figures tell how well pieces that were not heard are predicted",
}


def leak_lines(leak: Leak, split: Split) -> list[str]:
    """What training has seen of the validation windows, and what their figures therefore tell."""
    lines = [
        f"{leak.by_index:.1%} of the val targets also stand in a training window",
        f"{leak.by_content:.1%} of the val windows occur in training note for note, {leak.by_transposition:.1%} "
        "if transposed ones count",
        _MEANING[split],
    ]
    if split is not Split.shuffled and leak.by_transposition > 0:
        lines[-1] += f"; {leak.by_transposition:.1%} is repetition that can be known by heart"
    return lines


def report(config: TrainConfig, folder: Path, summary: dict[str, Any]) -> str:
    """The final table: what was reached, on which split, and where everything is."""
    keys = ["train", "val", *(["test"] if summary["windows_test"] else [])]
    best = summary["best"]
    rows = [
        ("" if k else "final weights", split_name(key, config, summary["pieces"]), key, summary)
        for k, key in enumerate(keys)
    ]
    rows += [
        ("" if k else f"best, epoch {best['epoch']}", split_name(key, config, summary["pieces"]), key, best)
        for k, key in enumerate(keys[1:])
    ]
    samples = sorted((folder / SAMPLES).glob("*.mid"))
    lines = [
        "",
        *table(rows, summary["baselines"]),
        UNITS,
        "",
        f"composed     {shown(samples[0])}" if samples else "",
        f"compose more {program('composer')} generate run={shown(folder)}",
        f"curves       {program('tensorboard')} --logdir {shown(folder.parent)}",
    ]
    return "\n".join(lines)
