"""Reading MIDI files in Python."""

from collections.abc import Callable
from pathlib import Path

import mido
import pytest

import composer
from composer.errors import ComposerError


@pytest.fixture
def two_parts(midi_file: Callable[..., Path]) -> Path:
    """A piano on the first track, a drum on the second; half a second per beat."""

    def track(channel: int, pitch: int) -> list[mido.Message]:
        on = mido.Message("note_on", channel=channel, note=pitch, velocity=64, time=0)
        return [on, mido.Message("note_off", channel=channel, note=pitch, time=480)]

    return midi_file([track(0, 60), track(9, 36), track(1, 72)])


def pitches(piece: composer.Piece) -> list[int]:
    return [note.pitch for note in piece.notes()]


def test_a_file_is_read_with_the_keys_of_the_group_data(two_parts: Path) -> None:
    assert pitches(composer.read(two_parts)) == [60, 72]
    assert pitches(composer.read(str(two_parts), part="track:0")) == [60]
    assert pitches(composer.read(two_parts, drums=True)) == [36, 60, 72]


@pytest.mark.parametrize(("unit", "length"), [("seconds", 0.5), ("beats", 1.0)])
def test_the_unit_is_that_of_the_events(unit: str, length: float, two_parts: Path) -> None:
    events = composer.read(two_parts, part="first", unit=unit).events
    assert events.delta_time.tolist() == [0, length]
    assert events.time_unit.value == unit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "bars"}, "unit=bars: must be seconds or beats"),
        ({"order": "random"}, "order=random: must be one of file, canonical"),
        ({"pedal": "up"}, "pedal=up: must be one of ignore, extend"),
        ({"part": "second"}, "data.part=second: must be first, all"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, str], message: str, two_parts: Path) -> None:
    with pytest.raises(ComposerError, match=f"^{message}"):
        composer.read(two_parts, **arguments)  # type: ignore[arg-type]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComposerError, match="absent.mid: not found"):
        composer.read(tmp_path / "absent.mid")
