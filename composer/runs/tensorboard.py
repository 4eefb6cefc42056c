"""TensorBoard's event files, without torch: scalars, images, sounds, histograms, hyperparameters, layout of charts."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from composer.files import check_writable_name

EVENTS_PREFIX = "events.out.tfevents."

# What a chart shows: lines, as regular expressions of their tags, or a band, as the tags of (value, lower, upper).
Chart = list[str] | tuple[str, str, str]
Layout = dict[str, dict[str, Chart]]


class DigestedFile:
    """A binary file, written from a place on, with the SHA-256 of its content."""

    def __init__(self, stream: BinaryIO, before: bytes = b"") -> None:
        """Args: `stream` to write to; `before`, what the file holds already."""
        self.stream, self._sha256 = stream, hashlib.sha256(before)

    @property
    def sha256(self) -> str:
        """The digest of all that was written, in hexadecimal digits."""
        return self._sha256.hexdigest()

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self.stream.write(content)
        self._sha256.update(content)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self.stream.flush()

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class EventFile:
    """One event file, from its beginning."""

    def __init__(self, path: Path) -> None:
        """Args: `path`, replaced if it exists; its name begins with `EVENTS_PREFIX`."""
        check_writable_name(path)
        path.unlink(missing_ok=True)  # not written through a link
        self.stream = DigestedFile(path.open("xb"))
        self.records = RecordWriter(self.stream)
        self.write(Event(file_version="brain.Event:2"))

    def write(self, event: Event) -> None:
        """Append an event, with the time of now."""
        event.wall_time = time.time()
        self.append(event)

    def append(self, event: Event) -> None:
        """Append an event of another file, with its own time."""
        self.records.write(event.SerializeToString())

    def summary(self, summary: Summary, step: int = 0) -> None:
        """Append a summary at a step."""
        self.write(Event(step=step, summary=summary))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append points by tag, all in one record."""
        self.summary(Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]), step)

    def image(self, step: int, tag: str, png: bytes) -> None:
        """Append an image in PNG."""
        # The header chunk of a PNG file: width and height after 16 bytes.
        width, height = struct.unpack(">II", png[16:24])
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self.summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def audio(self, step: int, tag: str, wav: bytes, rate: int, frames: int) -> None:
        """Append the sound of a WAV file of one channel: frames at a rate in hertz."""
        audio = Summary.Audio(
            sample_rate=rate,
            num_channels=1,
            length_frames=frames,
            encoded_audio_string=wav,
            content_type="audio/wav",
        )
        self.summary(Summary(value=[Summary.Value(tag=tag, audio=audio)]), step)

    def histogram(self, step: int, tag: str, edges: Sequence[float], counts: Sequence[int]) -> None:
        """Append a histogram of (K,) counts between (K + 1,) edges."""
        rows = np.column_stack([edges[:-1], edges[1:], counts]).astype(np.float64)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in rows.shape])
        tensor = TensorProto(dtype="DT_DOUBLE", tensor_shape=shape, tensor_content=rows.tobytes())
        metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
        self.summary(Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), step)

    def hyperparameters(self, values: Mapping[str, str | bool | int | float], trial: str = "") -> None:
        """Write the hyperparameters of the run, by key.

        Without a summary of the experiment, which could name keys and metrics of all runs, TensorBoard itself finds the
        keys in which the runs of a folder differ, and lists these first.

        Args:
            values: by key.
            trial: name in *HParams*, that of the run if empty; TensorBoard takes trials of one name for one.
        """
        start = SessionStartInfo(group_name=trial)
        for key, value in values.items():
            if isinstance(value, bool):
                start.hparams[key].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[key].number_value = value
            else:
                start.hparams[key].string_value = value
        end = SessionEndInfo(status=STATUS_SUCCESS)
        for tag, content in (
            (hparams_metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
            (hparams_metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
        ):
            plugin = SummaryMetadata.PluginData(
                plugin_name=hparams_metadata.PLUGIN_NAME, content=content.SerializeToString()
            )
            value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
            self.summary(Summary(value=[value]))

    def layout(self, categories: Layout) -> None:
        """Say which tags share a chart under *Custom scalars*: charts by title, in categories by title."""
        layout = layout_pb2.Layout(
            category=[
                layout_pb2.Category(title=title, chart=[_chart(name, content) for name, content in charts.items()])
                for title, charts in categories.items()
            ]
        )
        tensor = TensorProto(
            dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto()
        )
        plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME))
        value = Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=plugin)
        self.summary(Summary(value=[value]))

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self.stream.flush()

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


def _chart(title: str, content: Chart) -> layout_pb2.Chart:
    if isinstance(content, list):
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=content))
    value, lower, upper = content
    series = layout_pb2.MarginChartContent.Series(value=value, lower=lower, upper=upper)
    return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
