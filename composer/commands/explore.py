"""`composer explore`: measure a corpus, print a report, and write charts and an event file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from composer.config import compose as configs
from composer.config.commands import ExploreConfig
from composer.config.data import TimeUnit
from composer.config.limits import CHANNELS
from composer.explore.histograms import FORMATS, Panel, draw
from composer.explore.measure import Channel, Exploration, explore
from composer.explore.report_text import UNITS, number, text
from composer.files import display_path, printable, user_path, write_bytes, write_json
from composer.progress import working
from composer.runs.tensorboard import EVENTS_PREFIX, EventFile

FIGURES = "explore.json"


def run(config: ExploreConfig) -> Path:
    """Measure as configured, print the report and write its files; their folder."""
    with working("measuring the music"):
        found = explore(config.data, config.encoding, config.seed)
    folder = user_path(config.output) if config.output else Path("outputs") / "explore" / configs.run_id()
    print(printable(text(found)))
    write_json(folder / FIGURES, dataclasses.asdict(found))
    events = EventFile(folder / f"{EVENTS_PREFIX}000000")
    for channel, panels in _pages(found).items():
        title = printable(found.names[0]) if found.pieces == 1 else f"{found.pieces} pieces"
        with working(f"drawing the {channel} chart"):
            pages = {form: draw(f"{title}: {channel}", panels, form) for form in FORMATS}
        for form, content in pages.items():
            write_bytes(folder / f"{channel}.{form}", content)
        events.image(0, channel, pages["png"])
        for panel in panels:
            tag = f"{channel}/logarithmic" if panel.log else channel
            values = np.log10(panel.histogram.edges).tolist() if panel.log else panel.histogram.edges
            events.histogram(0, tag, values, panel.histogram.counts)
    events.close()
    print(f"\nwritten to {display_path(folder)}")
    return folder


def _pages(found: Exploration) -> dict[str, list[Panel]]:
    """Return the charts of each channel that has values above 0."""
    note, velocity, time = (found.channels[channel] for channel in CHANNELS)
    pages = {}
    if note.histogram is not None:
        ends = [found.coverage["note"].low - 0.5, found.coverage["note"].high + 0.5]
        # Only where it says something: the range of every pitch does not.
        marks = [end for end in ends if 0 < end < 127]
        pages["note"] = [
            Panel(note.histogram, f"MIDI pitch, {_range(note)}", marks=marks, marks_label="the encoding's range")
        ]
    if velocity.histogram is not None:
        label = f"velocity of the notes, {_range(velocity)} ({velocity.zeros:,} releases, 0, not shown)"
        pages["velocity"] = [Panel(velocity.histogram, label, limits=(0, 128))]
    if time.histogram is not None and time.log_histogram is not None:
        edges = [row.lower for row in found.time_classes[1:]]
        unit = UNITS[TimeUnit[found.time_unit]]
        label = f"time since the event before, {_range(time)} {unit} ({time.zeros:,} of 0 not shown)"
        pages["time"] = [
            Panel(time.histogram, label, marks=edges, marks_label="lower edges of the classes"),
            Panel(
                time.log_histogram,
                "the same, logarithmic",
                log=True,
                marks=edges,
                marks_label="lower edges of the classes",
            ),
        ]
    return pages


def _range(channel: Channel) -> str:
    assert channel.low is not None
    assert channel.high is not None
    return f"{number(channel.low)} to {number(channel.high)}"
