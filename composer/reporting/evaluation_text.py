"""Text that `composer evaluate` prints below the table of losses and accuracies."""

from __future__ import annotations

from typing import Any

from composer import terminal
from composer.config.limits import CHANNELS
from composer.evaluation import legend
from composer.reporting.run_tables import copied, judged, rows_of_text

NOTES = """\
perplexity: e to the loss, the number of equally likely events (note, velocity, time: classes) as hard to predict
ECE: expected calibration error, 15 bins; bits are those of classes, not of times within a class
skill over: where the accuracy lies between that baseline (0) and perfect (1)"""

_ACCURACIES = ("accuracy", *(f"accuracy_{channel}" for channel in (*CHANNELS, "joint")))
_BASELINES = {"majority": "majority", "repeat_last": "repeat last", "markov": "Markov", "nearest": "nearest context"}


def lines(results: dict[str, Any], names: dict[str, str], width: int | None = None) -> list[str]:
    """Return the lines that `composer evaluate` prints.

    Args:
        results: as `evaluate` gives them.
        names: titles of the scored splits, by key.
        width: columns of a table at most; None is any number.
    """
    return [
        *_perplexities(results, names, width),
        "",
        *_skills(results, names, width),
        NOTES,
        *_pieces(results, names),
        *_contexts(results, names),
        *_whole_pieces(results, names),
        *_composed(results, width),
    ]


def _perplexities(results: dict[str, Any], names: dict[str, str], width: int | None) -> list[str]:
    header = ["", "split", "perplexity", *CHANNELS, "bits/event", "bits/s", "ECE note", *CHANNELS[1:]]
    keys = ["perplexity", *(f"perplexity_{c}" for c in CHANNELS), "bits_per_event", "bits_per_second"]
    keys += [f"ece_{c}" for c in CHANNELS]
    rows = [("", name, [results[f"{key}/{split}"] for key in keys]) for split, name in names.items()]
    return terminal.table(header, rows_of_text(rows), labels=2, width=width)


def _skills(results: dict[str, Any], names: dict[str, str], width: int | None) -> list[str]:
    if not results["skill"]:
        return []
    rows = []
    for baseline, skills in results["skill"].items():
        for k, (split, name) in enumerate(names.items()):
            values = [skills.get(f"{key}/{split}") for key in _ACCURACIES]
            rows.append(("" if k else _BASELINES[baseline], name, values))
    header = ["skill over", "split", "accuracy", *CHANNELS, "joint"]
    return terminal.table(header, rows_of_text(rows), labels=2, width=width)


def _pieces(results: dict[str, Any], names: dict[str, str]) -> list[str]:
    made = []
    for split, name in names.items():
        loss = results["over_pieces"][split]["loss"]
        if loss["interval"] is not None:
            low, high = loss["interval"]
            made.append(
                f"by piece   {name}: mean loss {loss['mean']:.3f} over {loss['pieces']:,} pieces, "
                f"95 % interval {low:.3f} to {high:.3f} ({loss['method'] or 'all equal'})"
            )
    return made


def _composed(results: dict[str, Any], width: int | None) -> list[str]:
    copying, quality = results["copying"], results["quality"]
    if not copying or not quality:
        return []
    overlap, to_held_out = quality["overlap"]["composed"], quality["overlap_held_out"]
    kinds = (("training", overlap), ("held-out", to_held_out))
    similar = [f"{values['mean']:.3f} with {kind} music" for kind, values in kinds if values]
    return [
        *copied(copying),
        *judged(quality),
        *([f"similar      overlap of the distributions {', '.join(similar)} (1 is the same)"] if similar else []),
        "",
        *_figures(quality, width),
    ]


def _figures(quality: dict[str, Any], width: int | None) -> list[str]:
    """Return a table of the figures of the composed pieces, with those of training and held-out music."""
    kinds = {"composed": quality["composed"], "training": quality["training"], "held-out": quality["held_out"]}
    columns = {title: values for title, values in kinds.items() if values}
    rows = legend.rows(legend.QUALITY, list(columns.values()))
    return terminal.table(["quality", *columns], rows, width=width)


def _contexts(results: dict[str, Any], names: dict[str, str]) -> list[str]:
    made = []
    for split, found in results["context"].items():
        chosen = sorted({0, len(found["lengths"]) // 2, len(found["lengths"]) - 1})
        said = ", ".join(f"{found['loss'][k]:.3f} after {found['lengths'][k]}" for k in chosen)
        carried = found["stateful"]
        rest = "" if carried is None else f", {carried['loss']:.3f} after all from the piece's beginning"
        made.append(f"context    {names[split]}: loss {said} events{rest} ({found['windows']:,} windows)")
    return made


def _whole_pieces(results: dict[str, Any], names: dict[str, str]) -> list[str]:
    made = []
    for split, found in results["whole_pieces"].items():
        beat = found["nats_per_beat"]
        said = [
            f"{found['nats_per_event']:.3f} nats per event",
            *([f"{found['nats_per_note']:.3f} per note"] if found["nats_per_note"] else []),
            *([f"{beat:.3f} per beat"] if beat else []),
            *([f"{found['bits_per_second']:.2f} bits per second"] if found["bits_per_second"] else []),
        ]
        of = "" if found["pieces"] == found["held_out"] else f" of {found['held_out']:,}"
        made.append(f"whole      {names[split]}: {', '.join(said)} (every event of {found['pieces']:,}{of} pieces)")
    return made
