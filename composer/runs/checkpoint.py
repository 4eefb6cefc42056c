"""Checkpoints: tensors and plain values in one file with its own checksum, written all or nothing.

The file is an ordinary `torch.save` archive. Its SHA-256 stands in the archive's comment, where every reader of the
format skips it: nothing beside the file can get out of step with it. A checkpoint that a plain Lightning Trainer wrote
has no checksum, and is read as well.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from lightning_fabric.plugins import CheckpointIO

from composer.data.vocabulary import Vocabulary
from composer.errors import ComposerError
from composer.files import read_regular, special, temporary_name, unwritable, write_atomic
from composer.music.events import Timing, valid_division
from composer.music.markings import Excerpt
from composer.runs.layout import CHECKPOINTS, LAST, PREVIOUS

FORMAT = 1
# Keys of `callbacks`, where Lightning saves the state of each callback: position and metrics, lengths of the record.
PROGRESS_KEY, RECORD_KEY = "ProgressCallback", "RecordCallback"
# In checkpoints of earlier versions one callback of this name held both.
_COMBINED_KEY = "RunCallback"
# Places per beat.
MAX_GRID = 96
_MARK = b"sha256:"
# Far above any network that this project trains; a file beyond it is not one of ours.
MAX_BYTES = 4 << 30
# Of the values besides the tensors: texts and numbers.
MAX_PICKLE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """What composing needs of the training data, kept in the checkpoint.

    Attributes:
        primer: (T, 3) classes of the first events of the first training piece.
        piece: its name.
        timing, program: how to write MIDI as it does.
        data_sha256: digest of the training data.
        longest_note_seconds: of the training music, through each piece's tempo map; None where it is not known.
        place: where the primer stands in its piece, with the piece's tempo, metre and key; None where it is not known.
        grid: places per beat at which the training music strikes notes (`rhythm.grid_of`); None where it keeps to none.
    """

    primer: torch.Tensor
    piece: str
    timing: Timing
    program: int
    data_sha256: str
    longest_note_seconds: float | None = None
    place: Excerpt | None = None
    grid: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "primer": self.primer,
            "piece": self.piece,
            "division": self.timing.division,
            "microseconds_per_beat": self.timing.microseconds_per_beat,
            "program": self.program,
            "data_sha256": self.data_sha256,
            "longest_note_seconds": self.longest_note_seconds,
            "place": None if self.place is None else self.place.to_plain(),
            "grid": self.grid,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Origin:
        """Return the inverse of `to_plain`; raises KeyError, TypeError or ValueError for anything else."""
        timing = Timing(int(plain["division"]), int(plain["microseconds_per_beat"]))
        primer = plain["primer"]
        if not (isinstance(primer, torch.Tensor) and primer.ndim == 2 and primer.shape[1] == 3):
            raise ValueError("the primer has a wrong shape")
        if not (valid_division(timing.division) and timing.microseconds_per_beat > 0):
            raise ValueError("the timing is impossible")
        program = int(plain["program"])
        if not 0 <= program <= 127:
            raise ValueError(f"program {program} is not one of MIDI's")
        # Checkpoints of earlier versions do not say it.
        longest = plain.get("longest_note_seconds")
        if longest is not None and not (isinstance(longest, float) and 0 < longest < math.inf):
            raise ValueError(f"a longest note of {longest} seconds is impossible")
        place = None if plain.get("place") is None else Excerpt.from_plain(plain["place"])
        grid = plain.get("grid")
        if grid is not None and not (isinstance(grid, int) and 0 < grid <= MAX_GRID):
            raise ValueError(f"a grid of {grid} places per beat is impossible")
        return cls(primer, str(plain["piece"]), timing, program, str(plain["data_sha256"]), longest, place, grid)


def save(path: Path, values: dict[str, Any]) -> None:
    """Write a checkpoint all or nothing.

    Args:
        path: the file.
        values: tensors and plain values, nested in dicts and lists.

    Raises:
        ComposerError: the disk is full or the folder cannot be written; the old file stays.
    """
    buffer = io.BytesIO()
    torch.save(values, buffer)
    content = buffer.getvalue()
    # The archive's last two bytes are the length of its comment, 0 as torch writes it.
    assert content[-2:] == b"\0\0"
    comment = _MARK + hashlib.sha256(content).hexdigest().encode()

    def write(stream: Any) -> None:
        stream.write(content[:-2])
        stream.write(struct.pack("<H", len(comment)))
        stream.write(comment)

    write_atomic(path, write)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, and the checksum before them where `save` wrote it.

    Raises:
        ComposerError: the file is missing, damaged, too large, or holds anything but tensors and plain values.
    """
    if special(path) is None and path.is_file() and (size := path.stat().st_size) > MAX_PICKLE_BYTES:
        # The directory of the archive first: a file that is none of ours may have gigabytes.
        with path.open("rb") as stream:
            _check_archive(path, stream, size)
    content = read_regular(path, MAX_BYTES)
    length = len(_MARK) + 64
    body, comment = content[: -length - 2] + b"\0\0", content[-length:]
    if content[-length - 2 : -length] != struct.pack("<H", length) or not comment.startswith(_MARK):
        # An archive of torch ends with the length of its comment, which is empty.
        if not (content.startswith(b"PK") and content[-22:-18] == b"PK\x05\x06" and content[-2:] == b"\0\0"):
            raise ComposerError(f"{path}: not a checkpoint of composer, or cut short")
        body = content
    elif hashlib.sha256(body).hexdigest().encode() != comment[len(_MARK) :]:
        raise ComposerError(f"{path}: damaged (its checksum does not match its content)")
    _check_archive(path, io.BytesIO(body), len(body))
    try:
        values = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign archive
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ComposerError(f"{path}: holds more than tensors and plain values, not loaded ({reason})") from error
    if not isinstance(values, dict) or not isinstance(values.get("composer"), dict):
        raise ComposerError(f"{path}: not a checkpoint of composer")
    if values["composer"].get("format") != FORMAT:
        raise ComposerError(f"{path}: written by another version of composer")
    _check_tensors(path, values)
    _split_combined_state(values)
    return values


def _check_archive(path: Path, stream: BinaryIO, size: int) -> None:
    """Refuse an archive that would need more memory than its own size, before anything in it is read.

    torch stores every entry as it is: a compressed entry, or one that overlaps another, is no work of torch.

    Args:
        path: for messages.
        stream: the content.
        size: of it, in bytes.

    Raises:
        ComposerError: no whole archive of this kind.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises many kinds for a damaged archive
        raise ComposerError(f"{path}: damaged, or not a checkpoint of composer ({error})") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ComposerError(f"{path}: its archive is compressed, which no checkpoint is; not loaded")
    if sum(entry.file_size for entry in entries) > size or len({e.filename for e in entries}) < len(entries):
        raise ComposerError(f"{path}: its archive states more than the file holds; not loaded")
    if any(entry.file_size > MAX_PICKLE_BYTES for entry in entries if entry.filename.endswith(".pkl")):
        raise ComposerError(f"{path}: more than {MAX_PICKLE_BYTES:,} bytes besides its tensors; not loaded")


def _check_tensors(path: Path, values: dict[str, Any]) -> None:
    """Refuse tensors that no training writes: sparse ones, ones larger than their memory, weights that are not finite.

    Raises:
        ComposerError: names the tensor.
    """
    waiting: list[tuple[str, Any]] = [("", values)]
    seen: set[int] = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            if id(value) in seen:
                continue  # it may hold itself
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{name}.{key}" if name else str(key), item) for key, item in items]
        elif isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
                raise ComposerError(f"{path}: {name} is no dense tensor; not loaded")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ComposerError(f"{path}: {name} is larger than its content; not loaded")
    check_finite(path, values.get("state_dict"))


def check_finite(path: Path, weights: Any) -> None:
    """Refuse weights that are not finite; training never writes them.

    Args:
        path: of the file, for messages.
        weights: tensors by name.

    Raises:
        ComposerError: names the first such tensor.
    """
    for name, value in weights.items() if isinstance(weights, dict) else ():
        if isinstance(value, torch.Tensor) and not bool(torch.isfinite(value).all()):
            raise ComposerError(f"{path}: {name} holds NaN or infinity, which no training writes: damaged")


def _split_combined_state(values: dict[str, Any]) -> None:
    """Move the training state of a checkpoint of an earlier version to the keys of this one."""
    callbacks = values.get("callbacks")
    if isinstance(callbacks, dict) and isinstance(state := callbacks.pop(_COMBINED_KEY, None), dict):
        if "lengths" in state:
            callbacks[RECORD_KEY] = {"lengths": state.pop("lengths")}
        callbacks[PROGRESS_KEY] = state


def load_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest whole checkpoint of a run directory, for resuming.

    Returns:
        Its path and content; None when the run had not begun to write checkpoints, so that nothing can be lost.

    Raises:
        ComposerError: there were checkpoints and every one is damaged.
    """
    checkpoints = folder / CHECKPOINTS
    if not checkpoints.is_dir():
        return None
    reasons = []
    for name in (LAST, PREVIOUS):
        path = checkpoints / name
        try:
            values = load(path)
        except ComposerError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            warnings.warn(f"{reason}; resuming from {path} instead", stacklevel=2)
        return path, values
    raise ComposerError(f"{folder}: no whole checkpoint is left to resume from ({'; '.join(reasons)})")


def composer_values(config_yaml: str, vocabulary: Vocabulary, origin: Origin) -> dict[str, Any]:
    """Return what every checkpoint holds under `composer`: enough to compose without the run directory."""
    return {
        "format": FORMAT,
        "config": config_yaml,
        "vocabulary": vocabulary.to_plain(),
        "origin": origin.to_plain(),
    }


def check_fits(path: Path, values: dict[str, Any], model: torch.nn.Module) -> None:
    """Raise a `ComposerError` unless the weights in a checkpoint have the names and shapes of the model's."""
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    try:
        found = {name: tuple(value.shape) for name, value in model_state(values).items()}
    except (KeyError, AttributeError) as error:
        raise ComposerError(f"{path}: holds no weights of a network") from error
    if expected != found:
        name = min(name for name in expected | found if expected.get(name) != found.get(name))
        raise ComposerError(
            f"{path}: does not fit its own config: {name} should be {expected.get(name)} and is {found.get(name)}"
        )


# By number of the parameter, the shape of each tensor that the optimiser keeps for it; () for a number.
OptimizerShapes = Sequence[Mapping[str, tuple[int, ...]]]


def check_resumable(
    path: Path, values: dict[str, Any], model: torch.nn.Module, shapes: OptimizerShapes
) -> tuple[int, int]:
    """Check that a checkpoint holds a training of this model; return the epoch and batch that come next.

    Args:
        path: of the checkpoint, for messages.
        values: its content.
        model: the network, which the weights must fit.
        shapes: what the run's optimiser keeps for each parameter once it has taken a step.

    Raises:
        ComposerError: it holds weights alone, or its parts contradict each other.
    """
    check_fits(path, values, model)
    if PROGRESS_KEY not in values.get("callbacks", {}):
        raise ComposerError(f"{path}: holds weights but no training to go on with")
    try:
        progress = values["callbacks"][PROGRESS_KEY]
        epoch, batch = (int(number) for number in progress["position"])
        for key in ("steps", "best_epoch", "best_value", "metrics", "seconds"):
            progress[key]
        values["callbacks"][RECORD_KEY]["lengths"]
        state = values["optimizer_states"][0]["state"]
        # Before the first step it is empty; a wrong shape would reach into foreign memory.
        for number, expected in enumerate(shapes if state else ()):
            for name, shape in expected.items():
                if np.shape(state[number][name]) != shape:
                    raise ValueError(f"{name} {number} has a wrong shape")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ComposerError(f"{path}: its training state is damaged ({error})") from error
    return epoch, batch


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way of writing and reading checkpoints, by `save` and `load`; keeps the previous file."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Args: `values` of `composer_values`, added to every checkpoint."""
        self.values = values

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `path`; the file that was there becomes `previous.ckpt`. At no time is there no whole file."""
        target = Path(path)
        if target.exists():
            keep(target, target.with_name(PREVIOUS))
        save(target, {**checkpoint, "composer": self.values})

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read `path`, always with tensors and plain values only."""
        return load(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def keep(path: Path, name: Path) -> None:
    """Give a file a second name, replacing what had it, without a moment in which either is missing."""
    temporary = temporary_name(name)
    try:
        temporary.unlink(missing_ok=True)
        os.link(path, temporary)
        temporary.replace(name)
    except OSError as error:
        raise unwritable(name, error) from error


def model_state(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the network's own weights in a checkpoint, under the names of `Network`."""
    prefix = "model."
    return {name[len(prefix) :]: value for name, value in checkpoint["state_dict"].items() if name.startswith(prefix)}
