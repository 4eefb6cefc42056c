"""Likelihood of whole pieces: every event once, and the same as one event at a time."""

import numpy as np
import pytest
import torch

from composer.config.compose import compose
from composer.corpus.corpus import Corpus
from composer.data.prepare import prepare
from composer.data.tokens import encode_pieces
from composer.evaluation.scores import Seconds, nlls
from composer.evaluation.whole_pieces import event_nats, figures, first_event, held_out, score
from composer.music.events import Piece, prelude_piece
from composer.music.pieces import ReadPieces
from composer.nets.build import build_model

SIZE = 6


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    config = compose("data=prelude", "encoding=score")
    whole = prelude_piece(config.encoding.time_unit)
    pieces = [
        Piece(f"piece {k}", whole.events[60 * k : 60 * k + length], whole.timing)
        for k, length in enumerate((40, 7, 50, 45))
    ]
    return Corpus(ReadPieces(pieces), "0" * 64, [], config.encoding.resolved(config.encoding.time_unit))


@pytest.mark.parametrize(
    "overrides", [("model=lstm",), ("model=transformer", "model.heads=chained"), ("model=gru", "model.heads=chained")]
)
def test_every_event_is_scored_once_after_those_before_it(corpus: Corpus, overrides: tuple[str, ...]) -> None:
    config = compose("encoding=score", "model.hidden_size=16", *overrides)
    music = prepare(
        corpus,
        compose("data.window_size=6", "data.split=by_piece", "data.val_fraction=0.3", "data.test_fraction=0.3").data,
        0,
    )
    torch.manual_seed(0)
    model = build_model(config.model, music.vocabulary.sizes).eval()
    tokens = encode_pieces(corpus.pieces, music.vocabulary)
    for begin, count in zip(corpus.pieces.offsets.tolist(), corpus.pieces.lengths.tolist(), strict=True):
        piece = torch.from_numpy(tokens[begin : begin + count])
        one_by_one = []
        for k in range(1, count):
            target = piece[k : k + 1]
            with torch.no_grad():
                one_by_one.append(nlls(model(piece[max(0, k - SIZE) : k][None], target), target)[0])
        found = event_nats(model, tokens, begin, count, SIZE)
        assert np.allclose(found, np.stack(one_by_one), atol=1e-5)


def test_figures_are_sums_over_the_held_out_pieces(corpus: Corpus) -> None:
    data = compose("data.window_size=6", "data.split=by_piece", "data.val_fraction=0.3", "data.test_fraction=0.3").data
    music = prepare(corpus, data, 0)
    numbers = held_out(music.splits.test, corpus, data)
    assert numbers
    assert not set(numbers) & set(held_out(music.splits.train, corpus, data))
    torch.manual_seed(0)
    model = build_model(compose("model.hidden_size=8").model, music.vocabulary.sizes).eval()
    first = first_event(torch.zeros((0, 3), dtype=torch.uint8), music.vocabulary.sizes)
    assert [len(chances) for chances in first] == list(music.vocabulary.sizes)
    seconds = Seconds(corpus, data)
    pieces = score(model, music.tokens, corpus, numbers, SIZE, first, seconds, 0)
    found = figures(pieces, len(numbers))
    events = sum(int(corpus.pieces.lengths[k]) for k in numbers)
    assert found["events"] == events == sum(piece["events"] for piece in found["by_piece"])
    assert found["notes"] == sum(int((corpus.pieces[k].events.velocity > 0).sum()) for k in numbers)
    uniform = sum(np.log(size) for size in music.vocabulary.sizes)
    # An untrained network knows little more than that all classes are equally likely.
    assert found["nats_per_event"] == pytest.approx(uniform, rel=0.05)
    assert found["nats_per_beat"] * found["beats"] == pytest.approx(found["nats"])
    assert found["nats_per_note"] * found["notes"] == pytest.approx(found["nats"])
    assert found["bits_per_second"] * found["seconds"] * np.log(2) == pytest.approx(found["nats"])


def test_divided_pieces_are_not_held_out(corpus: Corpus) -> None:
    data = compose("data.window_size=6", "data.split=shuffled").data
    music = prepare(corpus, data, 0)
    assert held_out(music.splits.val, corpus, data) == []


def test_the_first_event_is_counted_with_one_more_of_each_class() -> None:
    chances = first_event(torch.tensor([[0, 1, 1], [0, 1, 0]]), (2, 2, 3))
    assert [found.tolist() for found in chances] == [[0.75, 0.25], [0.25, 0.75], [0.4, 0.4, 0.2]]
