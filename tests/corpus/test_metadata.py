"""Parts named in a CSV file, as MAESTRO does."""

from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest

from composer.config.data import DataConfig, EncodingConfig, Keep
from composer.corpus.corpus import read_corpus
from composer.data.prepare import load_data
from composer.errors import ComposerError

Data = Callable[..., DataConfig]
Encoding = Callable[..., EncodingConfig]
Build = Callable[..., Path]
HEADER = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"


def line(name: str, part: str) -> str:
    return f'A. Composer,"A title, with a comma",{part},2018,{name},{name}.wav,60.5\n'


@pytest.fixture
def maestro(midi_file: Build, tmp_path: Path) -> Path:
    for k, name in enumerate(["2004/a.midi", "2004/b.midi", "2006/c.midi", "2006/d.midi", "2006/e.midi"]):
        track = [mido.Message("note_on", note=60 + k, velocity=64, time=100 + n % 7) for n in range(20)]
        midi_file([track], name=f"music/{name}")
    rows = [("2004/a.midi", "train"), ("2004/b.midi", "test"), ("2006/c.midi", "validation"), ("2006/d.midi", "train")]
    (tmp_path / "music" / "maestro-v3.0.0.csv").write_text(HEADER + "".join(line(*row) for row in rows))
    return tmp_path / "music"


@pytest.fixture
def config(data_config: Data, maestro: Path) -> Data:
    return lambda **more: data_config(
        **{"source": "midi", "path": str(maestro), "split": "file", "window_size": 5, **more}
    )


@pytest.mark.parametrize("store", [Keep.auto, Keep.off])
@pytest.mark.parametrize("large", [False, True])
def test_the_file_says_which_piece_is_for_what(
    config: Data,
    encoding_config: Encoding,
    maestro: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: Keep,
    large: bool,
) -> None:
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 1 if large else 10**9)
    music = load_data(config(store=store), encoding_config(), seed=0)
    assert music.skipped == [f"{maestro / '2006/e.midi'}: not named in maestro-v3.0.0.csv"]

    def pitches(name: str) -> list[int]:
        starts = getattr(music.splits, name)
        return sorted({int(music.tokens[np.array([start])][0, 0]) + 24 for start in starts[np.arange(len(starts))]})

    assert (pitches("train"), pitches("val"), pitches("test")) == ([60, 63], [62], [61])
    assert [len(part) for part in (music.splits.train, music.splits.val, music.splits.test)] == [30, 15, 15]


def test_named_files_that_are_absent_are_warned_of(config: Data, encoding_config: Encoding, maestro: Path) -> None:
    (maestro / "2004" / "b.midi").unlink()
    with pytest.warns(UserWarning, match=r"csv: 1 of the files that it names are not in .*, first 2004/b\.midi"):
        music = load_data(config(), encoding_config(), seed=0)
    assert not len(music.splits.test)


def test_the_file_can_be_named(config: Data, encoding_config: Encoding, maestro: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.csv"
    other.write_text("midi_filename,split\n2004/a.midi,train\n2004/b.midi,validation\n")
    for given in (str(other), "maestro-v3.0.0.csv"):
        corpus = read_corpus(config(split_file=given), encoding_config())
        assert len(corpus.pieces) == (2 if given == str(other) else 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,split\na,train\n", r"csv: has no column midi_filename; it needs midi_filename and split$"),
        ("midi_filename,split\n2004/a.midi,dev\n", r"csv, line 2: split=dev: must be train, validation, test$"),
        ("midi_filename,split\n2004/a.midi\n", r"csv, line 2: split=: must be train, validation, test$"),
        ("midi_filename,split\na,train\na,test\n", r"csv, line 3: a is named twice, with different splits$"),
        ("midi_filename,split\nx.mid,train\n", r"csv: names none of the 5 MIDI files in "),
        ("midi_filename,split\n2004/a.midi,train\n", r"^data\.window_size=5: leaves 15 training and 0 validation"),
        ("\0\xff", r"csv: (cannot be read as CSV|has no column)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*of the files that it names")
def test_a_bad_file_is_one_line(config: Data, encoding_config: Encoding, maestro: Path, text: str, reason: str) -> None:
    (maestro / "maestro-v3.0.0.csv").write_text(text)
    with pytest.raises(ComposerError, match=reason) as caught:
        load_data(config(), encoding_config(), seed=0)
    assert "\n" not in str(caught.value)


def test_no_file_or_several_ask_for_the_name(config: Data, encoding_config: Encoding, maestro: Path) -> None:
    (maestro / "other.csv").write_text("")
    with pytest.raises(ComposerError, match=r"^data\.split=file: 2 CSV files in .*data\.split_file=NAME\.csv$"):
        read_corpus(config(), encoding_config())
    for path in maestro.glob("*.csv"):
        path.unlink()
    with pytest.raises(ComposerError, match=r"^data\.split=file: no CSV file in "):
        read_corpus(config(), encoding_config())
    with pytest.raises(ComposerError, match=r"^data\.split_file=gone\.csv: no such file$"):
        read_corpus(config(split_file="gone.csv"), encoding_config())
    with pytest.raises(ComposerError, match=r"^data\.split=file: needs a folder, and data\.path="):
        read_corpus(config(path=str(maestro / "2004" / "a.midi")), encoding_config())


def test_split_file_is_for_split_file(data_config: Data) -> None:
    with pytest.raises(
        ComposerError, match=r"^data\.split_file=a\.csv: must be used with data\.split=file or data\.group_by$"
    ):
        data_config(split_file="a.csv")
    with pytest.raises(
        ComposerError,
        match=r"^data\.split=file: must be used with data=midi, chorales or jsb_chorales$",
    ):
        data_config(split="file")
    with pytest.raises(
        ComposerError,
        match=r"^data\.group_by=title: must be used with data=midi, chorales or jsb_chorales$",
    ):
        data_config(group_by="title")


def test_a_file_that_divides_copies_is_told_of(config: Data, encoding_config: Encoding, maestro: Path) -> None:
    (maestro / "2004/b.midi").write_bytes((maestro / "2004/a.midi").read_bytes())
    with pytest.warns(UserWarning, match="similar pieces, 1 have pieces in more than one part"):
        music = load_data(config(), encoding_config(), seed=0)
    assert (music.groups.count, music.groups.copies) == (3, 1)


@pytest.mark.parametrize("large", [False, True])
def test_a_column_says_what_is_held_out_together(
    config: Data, encoding_config: Encoding, maestro: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr("composer.corpus.corpus.MAX_EVENTS_IN_MEMORY", 1 if large else 10**9)
    path = maestro / "maestro-v3.0.0.csv"
    path.write_text(path.read_text().replace('"A title, with a comma",validation', "Another,validation"))
    asked = config(split="by_piece", group_by="canonical_title", test_fraction=0.3)
    for seed in range(3):
        music = load_data(asked, encoding_config(), seed)
        # a, b and d have a title in common; e is not named, and trains, validates or tests all the same.
        assert music.groups.of.tolist() == [0, 0, 1, 0, 2]
        assert music.groups.named == 2
        names = [piece.name for piece in music.pieces]
        assert music.groups.named_by(names) == [[names[0], names[1], names[3]]]
    with pytest.raises(ComposerError, match=r"the 5 pieces make 2; data\.group_by=null takes each piece by itself$"):
        load_data(config(split="by_piece", group_by="canonical_composer"), encoding_config(), 0)
    divided = config(group_by="canonical_title")
    with pytest.warns(UserWarning, match="similar pieces, 1 have pieces in more than one part"):
        load_data(divided, encoding_config(), 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "midi_filename,split\na,train\n",
            r"csv: has no column title; it needs midi_filename and title; it has midi",
        ),
        ("midi_filename,title\na,one\na,two\n", r"csv, line 3: a is named twice, with different values of title$"),
        ("midi_filename,title\nx,one\n", r"csv: column title is empty for all 5 MIDI files in "),
    ],
)
def test_a_bad_column_is_one_line(
    config: Data, encoding_config: Encoding, maestro: Path, text: str, reason: str
) -> None:
    (maestro / "maestro-v3.0.0.csv").write_text(text)
    with pytest.raises(ComposerError, match=reason) as caught:
        load_data(config(split="by_piece", group_by="title"), encoding_config(), seed=0)
    assert "\n" not in str(caught.value)
    file = str(maestro / "2004" / "a.midi")
    with pytest.raises(ComposerError, match=r"^data\.group_by=title: needs a folder, and data\.path="):
        read_corpus(config(split="by_piece", group_by="title", path=file), encoding_config())
