"""The peer of MidiTok and GPT-2 (benchmarks/peer.py)."""

import csv
import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from composer.music.events import Piece

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
MISSING = [name for name in ("miditok", "transformers") if importlib.util.find_spec(name) is None]
needs_libraries = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
# What other libraries warn of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield importlib.import_module("peer")
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    for name in ("peer", "peer_tokens"):
        sys.modules.pop(name, None)


def write_corpus(folder: Path, *, performed: bool) -> None:
    """Write a piece for each part of a split: a random melody in quavers, or one with free times and velocities."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for part in ("train", "validation", "test"):
        onset = np.arange(80) / 2 + (random.uniform(0, 0.3, 80) if performed else 0)
        velocity = random.integers(30, 100, 80) if performed else np.full(80, 80)
        pitch = random.integers(50, 70, 80)
        notes = [(float(on), 0.5, int(note), int(loud)) for on, note, loud in zip(onset, pitch, velocity, strict=True)]
        Piece.from_notes(notes, "seconds" if performed else "beats", name=part).save(folder / f"{part}.mid")
        rows.append((f"{part}.mid", part))
    with (folder / "split.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("midi_filename", "split"), *rows])


def run(peer: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, tokenizer: str) -> dict[str, Any]:
    output = folder.parent / f"{tokenizer}.json"
    sizes = "--seconds 2 --parameters 20000 --context 64 --notes 20 --pieces 2 --batch 4".split()
    command = ["peer.py", "--data", str(folder), "--tokenizer", tokenizer, "--output", str(output), *sizes]
    monkeypatch.setattr(sys, "argv", command)
    peer.main()
    found = json.loads(output.read_text())
    assert isinstance(found, dict)
    return found


@needs_libraries
@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["remi", "midilike"])
@pytest.mark.parametrize("performed", [False, True])
def test_peer_figures_add_up(
    peer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: str, performed: bool
) -> None:
    write_corpus(tmp_path / "music", performed=performed)
    found = run(peer, monkeypatch, tmp_path / "music", tokenizer)
    test = found["test"]
    assert found["time_unit"] == ("seconds" if performed else "beats")
    assert found["seconds_trained"] >= 2
    assert found["steps"] > 0
    assert test["notes"] == 80
    assert test["nats_per_note"] * test["notes"] == pytest.approx(test["nats"])
    assert test["nats_per_token"] * test["tokens"] == pytest.approx(test["nats"])
    assert test["bits_per_second"] * test["seconds"] * math.log(2) == pytest.approx(test["nats"])
    for key in ("nats", "notes", "seconds") if performed else ("nats", "notes", "seconds", "beats"):
        assert sum(piece[key] for piece in test["pieces"]) == pytest.approx(test[key])
    if performed:
        assert test["nats_per_beat"] is None
        assert found["representation"]["onset_error_ms"] <= 500 / 32 / 2
    else:
        assert test["nats_per_beat"] * test["beats"] == pytest.approx(test["nats"])
        assert (test["beats"], test["seconds"]) == (pytest.approx(40), pytest.approx(20))
        assert found["representation"]["onset_error_ms"] == 0
        assert found["representation"]["duration_error_ms"] == 0
    assert found["representation"]["notes_lost"] == 0
    assert set(found["composed"]) == {"copying", "quality"}
    assert len(list((tmp_path / tokenizer).glob("*.mid"))) == len(found["composed"]["copying"]["pieces"])


@needs_libraries
def test_peer_scores_each_token_once_with_half_a_context(peer: ModuleType) -> None:
    torch.manual_seed(0)
    model = peer.make_model(20, 16, 5000, 0.1, 1).eval()
    pieces = [torch.randint(0, 20, (length,)) for length in (2, 10, 17, 18, 50)]
    for ids, nats in zip(pieces, peer.score(model, pieces, 16), strict=True):
        expected = []
        for place in range(1, len(ids)):
            # The first window that scores the token: windows begin every 8 tokens and read 16.
            start = max(0, math.ceil((place - 16) / 8) * 8)
            assert min(place, 8) <= place - start <= 16
            logits = model(input_ids=ids[start:place][None]).logits[0, -1]
            expected.append(-float(torch.log_softmax(logits, 0)[ids[place]]))
        assert nats.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("length", [2, 16, 17, 18, 25, 100])
def test_peer_windows_cover_every_token_once(peer: ModuleType, length: int) -> None:
    windows = peer.windows_of(length, 16)
    assert [place for _, first, end in windows for place in range(first, end)] == list(range(1, length))
    assert all(end - start <= 17 and first - start > 0 for start, first, end in windows)


def test_peer_chunks_are_parts_of_pieces(peer: ModuleType) -> None:
    pieces = [torch.arange(100, 150), torch.arange(200, 205)]
    found = peer.chunks(pieces, 200, 16, np.random.default_rng(0))
    assert found.shape == (200, 17)
    for row in found:
        kept = row[row != peer.IGNORED]
        assert len(kept) == (17 if kept[0] < 200 else 5)
        assert (kept.diff() == 1).all()
    # Beginnings and ends are not rare.
    assert (found[:, 0] == 100).sum() > 20
    assert (found[:, 16] == 149).sum() > 20


def test_peer_without_libraries_names_the_extra(peer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["peer.py", "--data", "chorales", "--output", "peer.json"])
    with pytest.raises(
        SystemExit, match=r"^peer.py needs miditok and transformers: pip install 'lstm-composer\[peer\]'$"
    ):
        peer.main()
