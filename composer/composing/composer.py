"""Composing with a trained run: `Composer`, which `composer generate` uses and `composer.load(...)` returns.

One class of some 400 lines, because its ways of composing share the primer, the rules and the setting of a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from composer.composing import safetensors_file as export
from composer.composing.arguments import sampling_from, shows_sampling_keys
from composer.composing.lengths import compose_rows
from composer.composing.named_rules import Scope, make_rules
from composer.composing.rules import Playing, Rules, silence, sounding_after
from composer.composing.sampling import Session
from composer.composing.setting import Setting, read_setting
from composer.config import run_file
from composer.config.data import EncodingConfig, TimeUnit
from composer.config.sampling import SamplingConfig
from composer.config.training import TrainConfig
from composer.corpus.corpus import read_pieces
from composer.corpus.read_many import Parameters, read_as
from composer.data.bar_position import BarStart, bar_start
from composer.data.vocabulary import Vocabulary
from composer.errors import ComposerError
from composer.files import user_path
from composer.music.events import Events, Piece, Timing, excerpt_of, in_unit, join, title_of, with_releases
from composer.music.markings import Excerpt, Markings
from composer.music.tonality import with_key
from composer.nets.build import Network, build_model
from composer.random_streams import RandomStream
from composer.runs import checkpoint as ckpt
from composer.runs.layout import checkpoint_path, run_path

# Pieces composed at once: more need memory and are not faster.
_BATCH_PIECES = 64


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed piece.

    Attributes:
        piece: the events as the network drew them.
        classes: (N, 3) what it drew, primer included.
        written: `piece` as it is heard, with releases of the notes that it holds longer than any of the training music.
    """

    piece: Piece
    classes: np.ndarray
    written: Piece

    def __repr__(self) -> str:
        return f"<Composition {self.written!r}>"

    def save(self, path: str | Path) -> Path:
        """Write it as a MIDI file, all or nothing, every started note ended after at least a tick; return its path."""
        return self.written.save(path)

    def _repr_html_(self) -> str:
        # In a notebook a composition shows the player of what `save` writes.
        return self.written._repr_html_()


@dataclass(frozen=True, slots=True)
class Primed:
    """Events that composing goes on from.

    Attributes:
        classes: (N, 3).
        piece: title of the piece that they are from; empty where there is none.
        place: where they stand in that piece; None where it is not known, and for no events.
    """

    classes: Tensor
    piece: str
    place: Excerpt | None


# A MIDI file, an offset in events into the training piece, (N, 3) classes, events that were read, "none", or None: the
# training piece's first events.
Primer = str | Path | int | Tensor | Primed | None


class Composer:
    """A trained network with its vocabulary, ready to compose.

    Attributes:
        setting: temperature and top_p where a config or an argument says none.
    """

    def __init__(
        self,
        model: Network,
        vocabulary: Vocabulary,
        origin: ckpt.Origin,
        config: TrainConfig,
        setting: Setting | None = None,
    ) -> None:
        """Keep what a checkpoint holds; see `Composer.load`.

        Args:
            model: the network, which is put into evaluation mode.
            vocabulary: classes of events.
            origin: what composing needs of the training music.
            config: of the run.
            setting: what the run has chosen at its end; None takes that of `config.sampling`.
        """
        self.model, self.vocabulary, self.origin, self.config = model.eval(), vocabulary, origin, config
        self.setting = Setting.of(config.sampling) if setting is None else setting

    @classmethod
    def load(cls, run: str | Path, checkpoint: str = "best") -> Composer:
        """Load a run directory's `best` or `last` checkpoint, or one checkpoint file.

        Raises:
            ComposerError: there is no such run or checkpoint, or it is damaged.
        """
        folder = run_path(run)
        path = checkpoint_path(folder, checkpoint)
        values = export.read(path) if path.suffix == export.SUFFIX else ckpt.load(path)
        composer = cls.of_checkpoint(values, path)
        # The file of the run directory comes first: a person can read and change it.
        composer.setting = (read_setting(folder) if folder.is_dir() else None) or composer.setting
        return composer

    @classmethod
    def of_checkpoint(cls, values: dict[str, Any], path: Path) -> Composer:
        """Return a composer of what a checkpoint holds.

        Args:
            values: the content of the checkpoint.
            path: its file, for messages.

        Raises:
            ComposerError: the values are damaged.
        """
        try:
            plain = values["composer"]
            config = run_file.parse_config(plain["config"], str(path))
            vocabulary = Vocabulary.from_plain(plain["vocabulary"])
            origin = ckpt.Origin.from_plain(plain["origin"])
            setting = Setting.from_plain(plain["sampling"]) if "sampling" in plain else None
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ComposerError(f"{path}: its training record is damaged ({error})") from error
        # On the meta device a config of absurd sizes takes no memory before it is compared with the weights.
        with torch.device("meta"):
            ckpt.check_fits(path, values, build_model(config.model, vocabulary.sizes))
        model = build_model(config.model, vocabulary.sizes)
        model.load_state_dict(ckpt.model_state(values))
        _check_probabilities(path, model.eval(), origin.primer)
        return cls(model, vocabulary, origin, config, setting)

    @shows_sampling_keys
    def generate(
        self,
        *,
        seed: int = 0,
        primer: Primer = None,
        continue_from: str | Path | None = None,
        **sampling: Any,
    ) -> Composition:
        """Compose one piece.

        Args:
            seed: the same seed gives the same piece.
            primer: what to begin from: a MIDI file (`my.mid`, or `my.mid:120` for its events from the 120th on), an
                offset in events into the training piece, (N, 3) classes, "none", or None for the training piece's
                first events.
            continue_from: a MIDI file that the piece begins with; the primer is its end.
            sampling: keys of `composer generate` that say how a piece is drawn, all but `n`: `events=200`,
                `temperature=0.9`, `scale="Am"`, `note_top_k=5` ... `SamplingConfig` documents each. A key that is not
                given has the value that the command has without it (`conf/generate.yaml`); None is null there.

        Raises:
            ComposerError: there is no such key, or a value is outside its limits.
        """
        config = sampling_from(sampling)
        if continue_from is not None:
            if primer is not None or config.include_primer:
                raise ComposerError("continue_from: used without primer and include_primer")
            return self.continued(config, seed, user_path(continue_from))[0]
        return self.compose(config, seed, self.primed(primer))[0]

    @property
    def smoothing(self) -> float:
        """The label smoothing of the training, which is removed from the probabilities before an event is drawn."""
        return self.config.loss.label_smoothing

    @property
    def encoding(self) -> EncodingConfig:
        """The run's encoding, with what the music decided."""
        return self.config.encoding.resolved(self.vocabulary.time_unit)

    def plain(self) -> dict[str, Any]:
        """Return the values besides the network that other runtimes need to compose, as plain values."""
        origin = self.origin
        return {
            "sizes": list(self.vocabulary.sizes),
            "vocabulary": self.vocabulary.to_plain(),
            "primer": origin.primer.tolist(),
            "stream": RandomStream.COMPOSED_PIECE,
            "label_smoothing": self.smoothing,
            # Where `compose` of the file is given none.
            "sampling": self.setting.to_plain(),
            "division": origin.timing.division,
            "microseconds_per_beat": self.timing(origin.place).microseconds_per_beat,
            "program": origin.program,
            # Tempo, metre and key of the piece, and where the primer stands in it.
            "place": None if origin.place is None else origin.place.to_plain(),
        }

    def primer(self, source: Primer) -> Tensor:
        """Return (N, 3) classes from whatever a primer can be given as; see `primed`."""
        return self.primed(source).classes

    def primed(self, source: Primer) -> Primed:
        """Read whatever a primer can be given as; see `generate`.

        Raises:
            ComposerError: the file or the training data cannot be read, or is too short.
        """
        origin = self.origin
        if source is None:
            return Primed(origin.primer, title_of(origin.piece), origin.place)
        if isinstance(source, Primed):
            return source
        if isinstance(source, Tensor):
            return Primed(source, title_of(origin.piece), None)
        if str(source) == "none":
            return Primed(torch.empty(0, 3, dtype=torch.uint8), "", None)
        if str(source).removeprefix("-").isdecimal() and int(source) < 0:  # type: ignore[arg-type]
            raise ComposerError(f"primer={source}: must be a MIDI file, an offset from 0 on, or none")
        if not str(source).isdecimal():
            path, offset = user_path(source), 0  # type: ignore[arg-type]
            name, colon, number = str(path).rpartition(":")
            if colon and number.isdecimal() and not path.exists():
                path, offset = Path(name), int(number)
            return self.primed_by(self._read(path), offset, str(path))
        pieces, sha256, _ = read_pieces(self.config.data, self.encoding)
        if sha256 != self.origin.data_sha256:
            warnings.warn(f"{self.config.data.named}: has changed since the training", stacklevel=2)
        # The piece that the default primer is from too: one that trained.
        names = pieces.names
        piece = pieces[names.index(self.origin.piece) if self.origin.piece in names else 0]
        return self.primed_by(piece, int(source))  # type: ignore[arg-type]

    def timing(self, place: Excerpt | None) -> Timing:
        """Return the timing of music that goes on from a place in a piece: at that piece's usual tempo."""
        own = self.origin.timing
        if place is None:
            place = self.origin.place
        if place is None or own.smpte or not place.markings.tempos:
            return own
        return Timing(own.division, place.markings.usual_tempo(place.length))

    def markings(self, primed: Primed, repeated: bool) -> tuple[Markings, float]:
        """Return tempo, metre and key of music after a primer, and beats of silence before it; see `Markings.after`.

        Args:
            primed: what the music goes on from.
            repeated: whether the music begins with the primer's own events.
        """
        if primed.place is not None:
            return primed.place.repeated() if repeated else primed.place.onward()
        origin = self.origin.place
        if origin is None:
            return Markings(), 0.0
        # Nothing is known of the primer's place: a bar begins.
        return origin.markings.after(None, origin.length)

    def compose(
        self,
        sampling: SamplingConfig,
        seed: int,
        primer: Tensor | Primed | None = None,
        advanced: Callable[[float], None] | None = None,
    ) -> list[Composition]:
        """Compose `sampling.n` pieces; the k-th depends on (seed, k) alone.

        The pieces have the usual tempo and metre of the primer's piece and go on in its bar: the rest of that bar
        stands before their first whole one. `advanced` gets the share of the work that has been done since its last
        call.
        """
        return self._composed(self.setting.fill(sampling), seed, primer, None, advanced)

    def compose_each(self, sampling: SamplingConfig, settings: Sequence[Setting], seed: int) -> list[list[Composition]]:
        """Compose `sampling.n` pieces with each setting, from the same random numbers, in one batch.

        They differ, if at all, in rounding from what `compose` makes with that setting.

        Args:
            sampling: with `method=sample`; its temperature and top_p are ignored.
            settings: temperature and top_p.
            seed: of the random numbers.
        """
        made = self._composed(self.setting.fill(sampling), seed, None, settings)
        return [made[first : first + sampling.n] for first in range(0, len(made), sampling.n)]

    def _composed(
        self,
        sampling: SamplingConfig,
        seed: int,
        primer: Tensor | Primed | None,
        settings: Sequence[Setting] | None,
        advanced: Callable[[float], None] | None = None,
    ) -> list[Composition]:
        primed = primer if isinstance(primer, Primed) else self.primed(primer)
        primer = primed.classes
        if primer.ndim != 2 or primer.shape[1] != 3:
            raise ComposerError(f"primer: must be (N, 3) classes, not {tuple(primer.shape)}")
        if bool((primer.long() < 0).any() or (primer.long() >= torch.tensor(self.vocabulary.sizes)).any()):
            raise ComposerError(f"primer: holds classes beyond the vocabulary's sizes {self.vocabulary.sizes}")
        timing = self.timing(primed.place)
        begun = self.vocabulary.decode(primer.numpy()) if sampling.include_primer else None
        rows = self._rows(sampling, seed, primed, begun, timing, settings, advanced)
        nothing = self.vocabulary.decode(primer[:0].numpy())
        markings, silence = self.markings(primed, begun is not None)
        title = f"After {primed.piece}" if primed.piece else "Composed"
        source = Piece(title, nothing, timing, self.origin.program, markings)
        longest = self.longest(sampling)
        return [self._composition(source, begun, primer, row, longest, k, silence) for k, row in enumerate(rows)]

    def continued(
        self, sampling: SamplingConfig, seed: int, path: Path, advanced: Callable[[float], None] | None = None
    ) -> list[Composition]:
        """Compose as `compose` does, from the end of a MIDI file; the pieces begin with its part as it was read.

        Raises:
            ComposerError: the file cannot be read, or leaves the encoding's range.
        """
        sampling = self.setting.fill(sampling)
        source = with_key(self._read(path))
        context = torch.from_numpy(self.vocabulary.encode(source.events))
        primed = Primed(context, title_of(source.name), excerpt_of(source, 0, len(context)))
        rows = self._rows(sampling, seed, primed, source.events, source.timing, None, advanced)
        markings = source.markings.extended(float(source.beats()[-1]))
        named = replace(source, name=f"{title_of(source.name)}, continued", markings=markings)
        longest = self.longest(sampling)
        return [self._composition(named, source.events, context, row, longest, k) for k, row in enumerate(rows)]

    def session(self, sampling: SamplingConfig, seed: int, primed: Primed, timing: Timing | None = None) -> Session:
        """A piece that is composed as its events are asked for: the first of `seed`; `timing` tells its seconds."""
        sampling = self.setting.fill(sampling)
        rules, playing = self._rules(sampling, None, timing or self.timing(None), primed.place)
        context, length = primed.classes.long().to(playing.now.device)[None], self.config.data.window_size
        return Session(
            self.model,
            context,
            sampling,
            _generators(seed, 1),
            length=length,
            rules=rules,
            playing=playing,
            bars=self.bars(primed),
            smoothing=self.smoothing,
        )

    def bars(self, primed: Primed) -> BarStart | None:
        """Return the places in the bar of a primer, for a network that reads them."""
        if not self.model.bar_position:
            return None
        timing, origin = self.timing(primed.place), self.origin.place
        metre, end = (Markings(), 0.0) if origin is None else (origin.markings, origin.length)
        seconds_per_beat = timing.ticks_per_beat / timing.ticks_per_second
        return bar_start(primed.classes, self.vocabulary, primed.place, seconds_per_beat, metre, end)

    def units_per_second(self, timing: Timing) -> float:
        """Return units of the vocabulary's time in a second, at the first tempo."""
        beats = self.vocabulary.time_unit is TimeUnit.beats
        return timing.ticks_per_second / timing.ticks_per_beat if beats else 1.0

    def _rules(
        self, sampling: SamplingConfig, begun: Events | None, timing: Timing, place: Excerpt | None
    ) -> tuple[Rules, Playing]:
        """Return the rules of a piece, and what plays after the events that it begins with; `place` is its primer's."""
        vocabulary, device = self.vocabulary, self.model.linear.weight.device
        times = torch.tensor(vocabulary.time_values, dtype=torch.float64, device=device)
        notes, lowest = vocabulary.sizes[0], vocabulary.pitch_low
        grid = None
        if self.origin.grid is not None and vocabulary.time_unit is TimeUnit.beats:
            grid = (self.origin.grid, 0.0 if place is None else place.end)
        limits = make_rules(Scope(sampling, notes, lowest, times, self.units_per_second(timing), grid))
        if begun is None:
            return limits, silence(1, notes, device)
        classes = (begun.pitch.astype(int) - lowest).tolist()
        heard = (classes, (begun.velocity > 0).tolist(), begun.delta_time.tolist())
        return limits, sounding_after(*heard, notes, device)

    def _rows(
        self,
        sampling: SamplingConfig,
        seed: int,
        primed: Primed,
        begun: Events | None,
        timing: Timing,
        settings: Sequence[Setting] | None = None,
        advanced: Callable[[float], None] | None = None,
    ) -> list[Tensor]:
        """Return (N, 3) classes of each piece after a primer; `begun` are the events that the pieces begin with.

        With `settings` there are `sampling.n` pieces of each, one setting after the other.
        """
        limits, playing = self._rules(sampling, begun, timing, primed.place)
        bars = self.bars(primed)
        seconds, streams = sampling.seconds, _generators(seed, sampling.n)
        each = None
        if settings is not None:
            each = [setting for setting in settings for _ in range(sampling.n)]
            streams = [stream for _ in settings for stream in _generators(seed, sampling.n)]
        rows: list[Tensor] = []
        with one_thread():
            for first in range(0, len(streams), _BATCH_PIECES):
                part = min(_BATCH_PIECES, len(streams) - first) / len(streams)
                rows += compose_rows(
                    self.model,
                    primed.classes.long().to(playing.now.device),
                    sampling,
                    streams[first : first + _BATCH_PIECES],
                    length=self.config.data.window_size,
                    rules=limits,
                    playing=playing,
                    limit=None if seconds is None else seconds * self.units_per_second(timing),
                    bars=bars,
                    smoothing=self.smoothing,
                    settings=None if each is None else each[first : first + _BATCH_PIECES],
                    advanced=None if advanced is None else partial(_scaled, advanced, part),
                )
        return [row.cpu() for row in rows]

    def longest(self, sampling: SamplingConfig) -> float | None:
        """Return seconds after which a note that the network does not end is released; None where a rule sees to it."""
        return self.origin.longest_note_seconds if sampling.max_note_seconds is None else None

    def _composition(
        self,
        source: Piece,
        begun: Events | None,
        primer: Tensor,
        drawn: Tensor,
        longest: float | None,
        number: int,
        silence: float = 0.0,
    ) -> Composition:
        """Make a piece of what was drawn, `silence` in beats later; see `Markings.after`."""
        events, kept = self.vocabulary.decode(drawn.numpy()), 0
        if begun is not None:
            events, kept = join(begun, events), len(begun)
        if silence and len(events):
            later = silence * source.timing.ticks_per_beat / source.timing.ticks(events.time_unit)
            delta_time = events.delta_time.copy()
            if later > 0:
                delta_time[0] += later
            else:
                delta_time = np.diff(np.maximum(np.cumsum(delta_time) + later, 0.0), prepend=0.0)
            events = replace(events, delta_time=delta_time)
        piece = written = replace(source, name=f"{source.name}, no. {number + 1}", events=events)
        if longest is not None:
            limit = longest * self.units_per_second(source.timing)
            written = replace(piece, events=with_releases(events, limit, kept))
        return Composition(piece, torch.cat([primer.long(), drawn.long()]).numpy(), written)

    def _read(self, path: Path) -> Piece:
        piece = read_as(path, Parameters.of(self.config.data, self.vocabulary.time_unit))
        if left_out := str(piece.left_out):
            warnings.warn(f"{path}: left out {left_out}", stacklevel=3)
        return piece

    def primed_by(self, piece: Piece, offset: int = 0, name: str = "") -> Primed:
        """Return the events of a piece from `offset` on, as many as the training window has.

        Args:
            piece: in any unit of time.
            offset: number of the first event.
            name: of the piece, for messages.

        Raises:
            ComposerError: the piece is too short, or leaves the encoding's range.
        """
        piece, name = with_key(in_unit(piece, self.vocabulary.time_unit)), name or piece.name
        events, size = piece.events, self.config.data.window_size
        if len(events) < size:
            raise ComposerError(f"primer: {name} has {len(events)} events; a primer needs {size}")
        if offset > len(events) - size:
            raise ComposerError(
                f"primer: {name} has {len(events)} events; a primer of {size} begins at 0 to {len(events) - size}"
            )
        classes = torch.from_numpy(self.vocabulary.encode(events[offset : offset + size]))
        return Primed(classes, title_of(piece.name), excerpt_of(piece, offset, size))


@torch.no_grad()
def _check_probabilities(path: Path, model: Network, primer: Tensor) -> None:
    """Refuse weights that are finite, but so large that what they compute is not.

    Raises:
        ComposerError: see above.
    """
    tokens = primer.long()[None]
    if bool((tokens >= torch.tensor(model.sizes)).any() or (tokens < 0).any()):
        raise ComposerError(f"{path}: its primer holds classes beyond the vocabulary's: damaged")
    if model.bar_position:
        tokens = torch.cat([tokens, torch.zeros_like(tokens[..., :1])], dim=-1)
    if tokens.shape[1] and not all(bool(torch.isfinite(channel).all()) for channel in model(tokens)):
        raise ComposerError(f"{path}: its weights are too large for finite probabilities: damaged")


def _scaled(advanced: Callable[[float], None], part: float, share: float) -> None:
    advanced(share * part)


def _generators(seed: int, count: int) -> list[torch.Generator]:
    """Return the streams of random numbers of the first pieces of a seed."""
    generators = []
    for k in range(count):
        state = np.random.SeedSequence([seed, k, RandomStream.COMPOSED_PIECE]).generate_state(1, np.uint64)
        generators.append(torch.Generator().manual_seed(int(state[0])))
    return generators


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: a step is so small that more cost more than they bring, many times on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def drawn_at(composer: Composer, config: SamplingConfig) -> str:
    """Return one line that names the temperature and cut of a command, and which of them are the run's own."""
    setting = Setting.of(composer.setting.fill(config))
    unsaid = [key for key in ("temperature", "top_p") if getattr(config, key) is None]
    of_run = f" ({' and '.join(unsaid)} of the run)" if unsaid else ""
    drawn = "sampled at" if config.method == "sample" else f"method={config.method},"
    return f"{drawn} {setting}{of_run}"
