"""Pictures and sound of a short piece, and TensorBoard's own reader on what the record holds of them."""

import importlib.util
import io
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composer.config.data import TimeUnit
from composer.music.events import prelude_piece
from composer.music.markings import Markings
from composer.music.notes import Note, Performance, from_piece
from composer.render import media
from composer.render.audio import synthesize
from composer.runs.record import RunLog
from composer.runs.tensorboard import EVENTS_PREFIX

NO_SIGNATURES = Markings()
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def prelude() -> Performance:
    return from_piece(prelude_piece(TimeUnit.seconds))


def frames(sound: media.Sound) -> np.ndarray:
    with wave.open(io.BytesIO(sound.wav)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, media.RATE, sound.frames)
        return np.frombuffer(file.readframes(sound.frames), "<i2")


@pytest.mark.slow
def test_a_long_piece_is_heard_for_its_first_seconds(prelude: Performance) -> None:
    made = media.media(prelude)
    assert made.sound.frames == round(media.SECONDS * media.RATE)
    heard = frames(made.sound)
    assert 3000 < np.abs(heard).max() < 32767
    # It sounds all the time, as the piece does.
    assert (np.abs(heard.astype(float)).reshape(15, -1).max(axis=1) > 500).all()
    assert made.roll is not None
    assert made.roll.startswith(PNG)


def test_a_short_piece_is_heard_to_its_end() -> None:
    tune = Performance("two", (Note(60, 80, 0.0, 0.5, 0.0, 1.0), Note(64, 80, 0.5, 0.5, 1.0, 1.0)), NO_SIGNATURES, 0)
    assert media.media(tune).sound.frames / media.RATE == pytest.approx(1.5, abs=0.01)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("cairosvg") is None, reason="cairosvg is not installed")
@pytest.mark.skipif(importlib.util.find_spec("verovio") is None, reason="verovio is not installed")
def test_the_first_page_is_a_picture(prelude: Performance) -> None:
    score = media.media(prelude).score
    if score is None:
        pytest.skip("the library cairo is not installed")
    assert score.startswith(PNG)
    assert len(score) > 20_000
    assert score == media.media(prelude).score


def test_without_packages_there_is_sound_but_no_pictures(prelude: Performance, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("verovio", "cairosvg", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    made = media.media(prelude)
    assert (made.score, made.roll) == (None, None)
    assert made.sound.frames > 0


@pytest.mark.slow
def test_tensorboard_reads_what_was_written(prelude: Performance, tmp_path: Path) -> None:
    made = media.media(prelude)
    record = RunLog(tmp_path)
    assert made.roll is not None
    record.add_image(3, "sample/piano roll", made.roll)
    record.add_audio(3, "sample/sound", made.sound.wav, media.RATE, made.sound.frames)
    record.close()
    events = EventAccumulator(str(next(tmp_path.glob(f"{EVENTS_PREFIX}*"))), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    assert events.Tags()["images"] == ["sample/piano roll"]
    (image,) = events.Images("sample/piano roll")
    assert (image.step, image.encoded_image_string) == (3, made.roll)
    (sound,) = events.Audio("sample/sound")
    assert (sound.step, sound.content_type, sound.sample_rate) == (3, "audio/wav", media.RATE)
    assert sound.length_frames == made.sound.frames
    assert sound.encoded_audio_string == made.sound.wav


@pytest.mark.parametrize("rate", [media.RATE, 2 * media.RATE])
def test_a_note_that_ends_between_two_samples_sounds_too(rate: int) -> None:
    # Half a sample is rounded to the even one, so that a sum of two lengths may differ from their sum rounded.
    for frames in (0.5, 1.5, 11_024.5, 11_025.5):
        note = Note(60, 80, 0.0, frames / rate, 0.0, 1.0)
        assert np.isfinite(synthesize([note], rate)).all()
