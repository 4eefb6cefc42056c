"""Sample pieces of a run: a short one every few epochs, and final ones, each compared with human music."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from composer.composing.composer import Composer, Composition
from composer.config.training import TrainConfig
from composer.data.prepare import PreparedData
from composer.data.vocabulary import Vocabulary
from composer.evaluation import legend
from composer.evaluation.judgements import Judgement
from composer.evaluation.reference import ReferenceMusic
from composer.music.events import Piece, excerpt_of
from composer.music.rhythm import grid_of
from composer.music.tonality import with_key
from composer.nets.network import Network
from composer.runs.checkpoint import Origin
from composer.runs.layout import SAMPLES
from composer.runs.record import COMPOSED, RunLog


class EpochSamples:
    """Composes every few epochs, always from the same primer and seed, so that the network's progress can be heard."""

    def __init__(
        self, folder: Path, config: TrainConfig, vocabulary: Vocabulary, origin: Origin, reference: ReferenceMusic
    ) -> None:
        """Keep the run directory, what composing needs besides the weights, and the music to compare with."""
        self.folder, self.config, self.reference = folder, config, reference
        self.vocabulary, self.origin = vocabulary, origin

    def __call__(self, epoch: int, model: Network, record: RunLog, last: bool = False) -> list[str]:
        """Compose if it is time.

        Nothing of the training is touched: the weights are copied, composing has random numbers of its own, and the
        file of an epoch that is trained again is written again with the same content.

        Args:
            epoch: finished epochs.
            model: with the weights of now, on any device.
            record: of the run.
            last: whether no epoch follows; the final piece then takes the place of this one in TensorBoard.

        Returns:
            Lines for the log; none while the music is sound.
        """
        every = self.config.logging.sample_every_epochs
        if every is None or epoch % every:
            return []
        composer = Composer(copy.deepcopy(model).cpu(), self.vocabulary, self.origin, self.config)
        events = self.config.logging.sample_events
        sampling = dataclasses.replace(self.config.sampling, n=1, events=events, seconds=None)
        (composition,) = composer.compose(sampling, self.config.seed)
        composition.save(self.folder / SAMPLES / f"epoch-{epoch:04d}.mid")
        judged = judge([composition], self.reference)
        record.add_scalars(epoch, scalars(judged))
        if self.config.logging.sample_media and not last:
            _try_show(record, epoch, composition.written)
        return [f"epoch {epoch}: {warning}" for warning in legend.warnings(judged.quality.to_plain())]


def _try_show(record: RunLog, epoch: int, piece: Piece) -> None:
    """Call `show`, and warn where it fails."""
    try:
        show(record, epoch, piece)
    except Exception as error:  # a picture is not worth a training
        warnings.warn(f"epoch {epoch}: the sample is not shown in TensorBoard ({error!r})", stacklevel=3)


def _sounds(piece: Piece) -> bool:
    """Return whether a piece has a note."""
    return bool((piece.events.velocity > 0).any())


def show(record: RunLog, epoch: int, piece: Piece) -> None:
    """Write to TensorBoard how an epoch's piece looks and sounds: the first page of its score, its roll, its sound.

    What a package is missing for is left out. A piece without a note, as a network that has learned nothing may
    compose, is a second of silence, and pictures that say so.
    """
    # Imported late: a run without samples needs none of it.
    from composer.music.notes import from_piece
    from composer.render.media import RATE, media, silence

    made = media(from_piece(piece)) if _sounds(piece) else silence()
    for tag, png in (("sample/score", made.score), ("sample/piano_roll", made.roll)):
        if png is not None:
            record.add_image(epoch, tag, png)
    record.add_audio(epoch, "sample/sound", made.sound.wav, RATE, made.sound.frames)


def judge(compositions: Sequence[Composition], reference: ReferenceMusic) -> Judgement:
    """Measure copying and quality of composed pieces.

    The figures are those of the pieces as written: with releases of the notes that the network holds too long.
    """
    drawn = [composition.piece for composition in compositions]
    written = [composition.written for composition in compositions]
    return Judgement(reference.copying(written, drawn), reference.quality(written, drawn))


def scalars(judged: Judgement) -> dict[str, float]:
    """Return the figures of a judgement by TensorBoard's tags.

    `copying/KEY` and `quality/KEY` are those of the piece, with `/held_out` and `/training` behind them those of human
    music, which are the same at every epoch: of the metrics that *Custom scalars* shows with them, so that the list of
    tags is not full of straight lines.
    """
    found: dict[str, float] = {}
    plain = judged.to_plain()
    for block, kinds in (("copying", ("held_out",)), ("quality", ("training", "held_out"))):
        values = plain[block]
        found |= {f"{block}/{key}": value for key, value in values["composed"].items()}
        for kind in kinds:
            lines = {f"{block}/{key}": value for key, value in (values[kind] or {}).items()}
            found |= {f"{key}/{kind}": value for key, value in lines.items() if key in COMPOSED}
    quality = plain["quality"]
    overlap = quality["overlap"]
    for kind in ("overlap", "divergence"):
        found |= {f"quality/{kind}_{key}": value for key, value in (quality[kind]["composed"] or {}).items()}
        # A name of its own: `overlap_mean/held_out` is that of held-out with training music.
        to_held_out = quality[f"{kind}_held_out"] or {}
        found |= {f"quality/{kind}_to_held_out_{key}": value for key, value in to_held_out.items()}
    if overlap["held_out"]:
        found["quality/overlap_mean/held_out"] = overlap["held_out"]["mean"]
    if quality["distance"] is not None:
        found["quality/distance"] = quality["distance"]
    if quality["distance_among"] is not None:
        # What human excerpts have among themselves.
        found["quality/distance/held_out"] = quality["distance_among"]
    return found


def origin_of(data: PreparedData, window_size: int, reference: ReferenceMusic) -> Origin:
    """Return the parts of the training data that composing needs.

    The primer is the first events of the first training piece; where those are held out, of its first training window.
    """
    first, offsets, train = data.splits.train.lowest(), data.pieces.offsets, data.splits.train
    number = int(np.searchsorted(offsets, first, side="right")) - 1
    piece, begin = data.pieces[number], int(offsets[number])
    if not train.touches(np.arange(begin, begin + window_size), window_size).all():
        begin = first
    return Origin(
        torch.from_numpy(data.tokens[begin : begin + window_size].copy()),
        piece.name,
        piece.timing,
        piece.program,
        data.sha256,
        reference.longest_note_seconds,
        excerpt_of(with_key(piece), begin - int(offsets[number]), window_size),
        grid_of(np.concatenate([strikes.onset_beats for strikes in reference.training.strikes])),
    )


def write_samples(
    composer: Composer, folder: Path, config: TrainConfig, reference: ReferenceMusic, record: RunLog | None, epoch: int
) -> dict[str, Any]:
    """Compose the final pieces of a run, write and judge them, and show the first that has a note in TensorBoard.

    Args:
        composer: the best weights.
        folder: the run directory.
        config: of the run.
        reference: the music that the pieces are compared with.
        record: gets score, piano roll and sound of a piece; None shows nothing.
        epoch: the last one, where they stand.

    Returns:
        The nodes `copying` and `quality` of `summary.json`.
    """
    compositions = composer.compose(config.sampling, config.seed)
    names = [f"{config.name}-seed{config.seed}-{number:03d}.mid" for number in range(len(compositions))]
    for name, composition in zip(names, compositions, strict=True):
        composition.save(folder / SAMPLES / name)
    if record is not None:
        written = [composition.written for composition in compositions]
        _try_show(record, epoch, next(filter(_sounds, written), written[0]))
    judged = judge(compositions, reference).to_plain()
    copying = judged["copying"]
    # Each passage names its file.
    longest = [found and {"file": name, **found} for name, found in zip(names, copying["longest"], strict=True)]
    return {**judged, "copying": {**copying, "longest": longest}}
