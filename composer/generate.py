"""Composing with a trained run: what `composer generate` does, and `composer.load(...)` in a notebook."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from composer import checkpoint as ckpt
from composer import config as configs
from composer import export
from composer.corpus import read_pieces
from composer.errors import ComposerError
from composer.events import Events, Piece, join
from composer.midi import write_midi
from composer.model import Network, build_model
from composer.reading import Parameters, read_as
from composer.rundir import CHECKPOINTS, shown
from composer.sampling import compose_window
from composer.schema import ExportConfig, GenerateConfig, SamplingConfig, TimeUnit, TrainConfig
from composer.vocabulary import Vocabulary

_PIECE_STREAM = 5
# Events composed between two looks at the length in seconds.
_CHUNK = 64
# A piece whose time does not advance would never reach its seconds.
_EVENTS_PER_SECOND_LIMIT = 1000


# A MIDI file, an offset in events into the training piece, (T, 3) classes, or None: the piece's first events.
Primer = str | Path | int | Tensor | None


class _Settings(SamplingConfig):
    """Sampling settings whose limits name an argument, not a key of a config."""

    prefix: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed piece: `piece` is ready to write, `classes` (N, 3) are what the network drew, primer included."""

    piece: Piece
    classes: np.ndarray

    def save(self, path: str | Path) -> Path:
        """Write it as a MIDI file, all or nothing, every started note ended."""
        write_midi(Path(path), self.piece)
        return Path(path)


class Composer:
    """A trained network with its vocabulary, ready to compose."""

    def __init__(self, model: Network, vocabulary: Vocabulary, origin: ckpt.Origin, config: TrainConfig) -> None:
        """Args: what a checkpoint holds; see `Composer.load`."""
        self.model, self.vocabulary, self.origin, self.config = model.eval(), vocabulary, origin, config

    @classmethod
    def load(cls, run: str | Path, checkpoint: str = "best") -> Composer:
        """Load a run directory's `best` or `last` checkpoint, or one checkpoint file.

        Raises:
            ComposerError: there is no such run or checkpoint, or it is damaged.
        """
        path = checkpoint_path(Path(run).expanduser(), checkpoint)
        values = export.read(path) if path.suffix == export.SUFFIX else ckpt.load(path)
        try:
            plain = values["composer"]
            config = configs.parse_config(plain["config"], str(path))
            vocabulary = Vocabulary.from_plain(plain["vocabulary"])
            origin = ckpt.Origin.from_plain(plain["origin"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ComposerError(f"{path}: what it says of its training is damaged ({error})") from error
        # On the meta device a config of absurd sizes takes no memory before it is compared with the weights.
        with torch.device("meta"):
            ckpt.check_fits(path, values, build_model(config.model, vocabulary.sizes))
        model = build_model(config.model, vocabulary.sizes)
        model.load_state_dict(ckpt.model_state(values))
        return cls(model, vocabulary, origin, config)

    def generate(
        self,
        *,
        events: int = 500,
        seconds: float | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        primer: Primer = None,
        include_primer: bool = False,
    ) -> Composition:
        """Compose one piece.

        Args:
            events: events after the primer.
            seconds: compose this long instead.
            temperature: below 1 is safer, above 1 is bolder.
            top_k: sample among the k likeliest classes of each channel.
            top_p: sample among the likeliest classes whose probabilities reach p.
            seed: the same seed gives the same piece.
            primer: what to begin from: a MIDI file, an offset in events into the training piece, (T, 3) classes, or
                None for the training piece's first events.
            include_primer: begin the piece with the primer's events.

        Raises:
            ComposerError: a value is outside its limits.
        """
        sampling = _Settings(
            events=events,
            seconds=seconds,
            n=1,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            include_primer=include_primer,
        )
        return self.compose(sampling, seed, self.primer(primer))[0]

    def primer(self, source: Primer) -> Tensor:
        """(T, 3) classes from whatever a primer can be given as; see `generate`.

        Raises:
            ComposerError: the file or the training data cannot be read, or is too short.
        """
        if source is None:
            return self.origin.primer
        if isinstance(source, Tensor):
            return source
        if not str(source).isdecimal():
            return self.primer_from_file(Path(source).expanduser())  # type: ignore[arg-type]
        pieces, sha256, _ = read_pieces(self.config.data, self.config.encoding)
        if sha256 != self.origin.data_sha256:
            warnings.warn(f"data.path={self.config.data.path}: has changed since the training", stacklevel=2)
        # The piece that the default primer is from too: one that trained.
        names = pieces.names
        piece = pieces[names.index(self.origin.piece) if self.origin.piece in names else 0]
        return self.primer_from_events(piece.events, int(source), piece.name)  # type: ignore[arg-type]

    def compose(self, sampling: SamplingConfig, seed: int, primer: Tensor | None = None) -> list[Composition]:
        """Compose `sampling.n` pieces; the k-th depends on (seed, k) alone."""
        primer = self.origin.primer if primer is None else primer
        if primer.ndim != 2 or primer.shape[1] != 3 or not len(primer):
            raise ComposerError(f"primer: must be (T, 3) classes, not {tuple(primer.shape)}")
        if bool((primer.long() < 0).any() or (primer.long() >= torch.tensor(self.vocabulary.sizes)).any()):
            raise ComposerError(f"primer: holds classes beyond the vocabulary's sizes {self.vocabulary.sizes}")
        generators = []
        for k in range(sampling.n):
            state = np.random.SeedSequence([seed, k, _PIECE_STREAM]).generate_state(1, np.uint64)
            generators.append(torch.Generator().manual_seed(int(state[0])))
        batch = primer.long().expand(sampling.n, -1, -1)
        with _one_thread():
            if sampling.seconds is None:
                rows = list(compose_window(self.model, batch, sampling, generators, sampling.events))
            else:
                rows = self._compose_seconds(batch, sampling, generators)
        return [self._composition(primer, row, sampling.include_primer, k) for k, row in enumerate(rows)]

    def _compose_seconds(
        self, primer: Tensor, sampling: SamplingConfig, generators: list[torch.Generator]
    ) -> list[Tensor]:
        assert sampling.seconds is not None
        limit = sampling.seconds
        if self.vocabulary.time_unit is TimeUnit.beats:
            limit *= self.origin.timing.ticks_per_second / self.origin.timing.ticks_per_beat
        values = torch.tensor(self.vocabulary.time_values, dtype=torch.float64)
        window = primer
        parts: list[Tensor] = []
        elapsed = torch.zeros(len(primer), dtype=torch.float64)
        while bool((elapsed <= limit).any()):
            if len(parts) * _CHUNK > sampling.seconds * _EVENTS_PER_SECOND_LIMIT + _CHUNK:
                raise ComposerError(
                    f"seconds={sampling.seconds:g}: the network strikes note after note without advancing in time; "
                    "compose a number of events instead (events=500)"
                )
            part = compose_window(self.model, window, sampling, generators, _CHUNK)
            window = torch.cat([window, part], dim=1)[:, -primer.shape[1] :]
            parts.append(part)
            elapsed += values[part[:, :, 2]].sum(1)
        drawn = torch.cat(parts, dim=1)
        within = values[drawn[:, :, 2]].cumsum(1) <= limit
        return [row[: int(inside.sum())] for row, inside in zip(drawn, within, strict=True)]

    def _composition(self, primer: Tensor, drawn: Tensor, include_primer: bool, number: int) -> Composition:
        events = self.vocabulary.decode(drawn.cpu().numpy())
        if include_primer:
            events = join(self.vocabulary.decode(primer.numpy()), events)
        piece = Piece(f"after {self.origin.piece}, {number}", events, self.origin.timing, self.origin.program)
        return Composition(piece, torch.cat([primer.long(), drawn.cpu()]).numpy())

    def primer_from_file(self, path: Path) -> Tensor:
        """(T, 3) classes of the first events of a MIDI file, read as the training data was.

        Raises:
            ComposerError: the file cannot be read, is too short, or leaves the encoding's range.
        """
        events = read_as(path, Parameters.of(self.config.data, self.vocabulary.time_unit)).events
        return self.primer_from_events(events, 0, str(path))

    def primer_from_events(self, events: Events, offset: int, name: str) -> Tensor:
        """(T, 3) classes of the events from `offset` on, T being the training window."""
        size = self.config.data.window_size
        if len(events) < size:
            raise ComposerError(f"primer: {name} has {len(events)} events; a primer of {size} needs as many")
        if offset > len(events) - size:
            raise ComposerError(
                f"primer: {name} has {len(events)} events; a primer of {size} begins at 0 to {len(events) - size}"
            )
        return torch.from_numpy(self.vocabulary.encode(events[offset : offset + size]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: a step is so small that more cost more than they bring, many times on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def checkpoint_path(run: Path, checkpoint: str = "best") -> Path:
    """The checkpoint file that a run directory or file stands for.

    Raises:
        ComposerError: there is none.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise ComposerError(f"run={run}: no such run directory or checkpoint file")
    folder = run / CHECKPOINTS
    path = folder / f"{checkpoint}.ckpt"
    if path.is_file():
        return path
    if (folder / ckpt.LAST).is_file():
        raise ComposerError(
            f"run={run}: has no {checkpoint}.ckpt (it had not finished an epoch when it was last saved); "
            f"finish it with composer train resume={shown(run)}, or compose with checkpoint=last"
        )
    raise ComposerError(f"run={run}: has no checkpoints, so it is not a run directory of composer train")


def run(config: GenerateConfig) -> list[Path]:
    """Compose as configured and write the pieces; tells where they are."""
    composer = Composer.load(config.run, config.checkpoint)
    folder = Path(config.output) if config.output else Path("outputs") / "generate" / configs.run_id()
    paths = []
    for number, composition in enumerate(composer.compose(config, config.seed, composer.primer(config.primer))):
        path = folder / f"{composer.config.name}-seed{config.seed}-{number:03d}.mid"
        paths.append(composition.save(path))
        length = float(composition.piece.events.delta_time.sum())
        unit = composition.piece.events.time_unit.name
        print(f"{path}  {len(composition.piece.events)} events, {length:.1f} {unit}")
    return paths


def export_run(config: ExportConfig) -> Path:
    """Write a run's weights as safetensors; the file."""
    composer = Composer.load(config.run, config.checkpoint)
    path = Path(config.output)
    yaml = configs.to_yaml(composer.config)
    export.write(path, composer.model.state_dict(), ckpt.composer_values(yaml, composer.vocabulary, composer.origin))
    print(f"{shown(path)}  {path.stat().st_size:,} bytes; compose with: composer generate run={shown(path)}")
    return path
