"""The benchmark of the models: its statistics without a training."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import article, choice, tables
from benchmarks.models.adaptation import ORDERS, Counts, Predicted, gate, mixed
from benchmarks.models.jobs import Job, run_all
from benchmarks.models.recipes import KINDS, network, parameters, width

SIZES = (3, 2, 4)


def windows(count: int, seed: int, length: int = 6) -> np.ndarray:
    generator = np.random.default_rng(seed)
    # Events that depend on the one before, so that long contexts recur.
    rows = [generator.integers(0, 2, length).tolist() for _ in range(count)]
    return np.array([[(a, a % 2, (a + b) % 4) for a, b in zip(row, [0, *row], strict=False)] for row in rows], np.uint8)


def witten_bell(train: np.ndarray, window: np.ndarray, channel: int) -> tuple[np.ndarray, int]:
    """The definition, one context at a time."""
    chances, longest = np.full(SIZES[channel], 1 / SIZES[channel]), 0
    for order in range(min(ORDERS, train.shape[1] - 1) + 1):
        key = (window[len(window) - 1 - order : -1].tolist(), window[-1, :channel].tolist())
        seen = Counter(
            int(other[-1, channel])
            for other in train
            if (other[len(other) - 1 - order : -1].tolist(), other[-1, :channel].tolist()) == key
        )
        if seen:
            total, distinct = sum(seen.values()), len(seen)
            counted = np.array([seen[k] for k in range(SIZES[channel])])
            chances, longest = (counted + distinct * chances) / (total + distinct), order
    return chances, longest


def test_counts_are_witten_and_bells() -> None:
    train, asked = windows(40, 0), windows(12, 1)
    predicted, longest = Counts(train, SIZES).predict(asked)
    for row, window in enumerate(asked):
        for channel in range(3):
            chances, order = witten_bell(train, window, channel)
            assert predicted.chances[channel][row] == pytest.approx(chances)
            assert predicted.chances[channel][row].sum() == pytest.approx(1)
            assert longest[row, channel] == order


def test_the_gate_is_likelier_than_either_alone() -> None:
    generator, targets = np.random.default_rng(0), windows(200, 2)[:, -1].astype(np.int64)
    chances = [generator.dirichlet(np.ones(size), 200) for size in SIZES]
    network_, longest = Predicted(chances, targets), generator.integers(0, ORDERS + 1, (200, 3))
    counts = Predicted([generator.dirichlet(np.ones(size), 200) for size in SIZES], targets)
    weights = gate(network_, counts, longest)
    assert ((weights > 0) & (weights < 1)).all()
    found = mixed(network_, counts, longest, weights)
    assert all(rows.sum(axis=1) == pytest.approx(1) for rows in found.chances)
    assert found.loss < min(network_.loss, counts.loss)
    assert mixed(network_, counts, longest, np.zeros_like(weights)).loss == pytest.approx(network_.loss)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_as_large_as_the_lstm(kind: str) -> None:
    sizes = (128, 128, 15)
    wanted = parameters(network(KINDS["LSTM"], sizes, 128))
    found = parameters(network(KINDS[kind], sizes, width(KINDS[kind], sizes, wanted)))
    assert abs(found / wanted - 1) < 0.05


def test_every_training_has_a_folder_of_its_own(tmp_path: Path) -> None:
    for study in (article, choice):
        folders = [job.folder for job in study.jobs(tmp_path, tmp_path)]
        assert len(set(folders)) == len(folders)


def test_what_is_done_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path / "run", ("unknown=1",))
    assert not job.done
    # A point in its name is no suffix.
    assert Job(tmp_path / "share0.5-seed1", ()).sibling("log") == tmp_path / "share0.5-seed1.log"
    job.folder.mkdir()
    (job.folder / "summary.json").write_text(json.dumps({"status": "completed"}))
    assert Job(job.folder, job.overrides).done
    run_all([Job(job.folder, job.overrides)], 1, 1.0)
    assert capsys.readouterr().out == ""


def test_a_table_replaces_what_was_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text("before\n\n<!-- figures: a -->\nold\n<!-- end of figures -->\n\nafter\n")
    text = tables.table(("x", "y"), [("1", tables.spread([1.0, 2.0]))])
    for _ in range(2):
        tables.write("page.md", "a", text)
    written = f"before\n\n<!-- figures: a -->\n\n{text}\n\n<!-- end of figures -->\n\nafter\n"
    assert page.read_text() == written
    assert "| 1 | 1.500 ± 0.707 |" in written
    with pytest.raises(ValueError, match="figures: b"):
        tables.write("page.md", "b", text)


def test_the_documents_have_a_place_for_every_table() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    text = "".join((docs / name).read_text() for name in ("article.md", "models.md", "benchmarks.md"))
    for name in ("article", "choice", "adaptation", "sets", "jsb", "peers", "data_size"):
        assert text.count(f"<!-- figures: {name} -->") == 1
