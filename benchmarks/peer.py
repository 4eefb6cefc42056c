"""A peer from other libraries on the same files: MidiTok's tokens and a small GPT-2 of Transformers.

    pip install 'lstm-composer[peer]'              in an environment that has the package; nothing else is downloaded
    python benchmarks/peer.py --data chorales --tokenizer remi --seconds 300 --parameters 500000 --output remi.json
    python benchmarks/peer.py --data FOLDER --tokenizer midilike --seconds 300 --output midilike.json

FOLDER holds MIDI files and one CSV file with the columns `midi_filename` and `split` (composer/corpus/metadata.py). The
notes are those that `composer train` reads (all parts merged, the pedal ignored): figures per note, beat and second can
be compared with ours, figures per token cannot. Scores are tokenized in beats, performances in seconds as if at 120
quarter notes per minute, because MidiTok without tempo tokens ignores tempos. Nothing marks the end of a piece, as
nothing does among our events. REMI is of Huang and Yang (2020), MIDI-Like of Oore et al. (2018).

The network trains on one thread for a wall time, or with `--clock cpu`, where other programs run, for a processor time,
without augmentation: AdamW, linear warm-up over 5 % of the time, then a cosine. Reading, tokenizing and validation do
not count. The weights of the lowest validation loss are kept. Every token after BOS is scored once, in nats, with at
least half a context of tokens before it or all that there are.

    B = batch, T = tokens of a chunk, L = tokens of a piece with BOS, P = composed pieces
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.peer_tokens import (
    BEATS_PER_SECOND,
    TokenizedPiece,
    decode,
    encode,
    make_tokenizer,
    measure_representation,
    onset_tokens,
    release_notes,
)
from composer.composing.composer import Composition
from composer.config.compose import compose as compose_config
from composer.config.data import TimeUnit
from composer.corpus.corpus import read_corpus
from composer.data.prepare import split_corpus
from composer.errors import ComposerError
from composer.evaluation.reference import ReferenceMusic
from composer.evaluation.samples import judge
from composer.files import write_json
from composer.music.events import Piece
from composer.music.midi import read_piece
from composer.music.notes import notes_of

PACKAGES = ("miditok", "transformers", "torch")
WARM_UP = 0.05
VALIDATIONS = 8
# Windows that each validation during the training scores, at most.
MAX_VALIDATION_WINDOWS = 256
SCORING_BATCH = 16
# Padding, which is neither trained nor scored.
IGNORED = -100


def make_model(vocabulary: int, context: int, parameters: int, dropout: float, bos: int) -> Any:
    """Return a randomly initialised GPT-2 of 2 to 4 layers whose number of parameters is nearest to `parameters`.

    A width D has about D / 32 heads; input and output share their embedding. It has (vocabulary + context) D + layers
    (12 D^2 + 13 D) + 2 D parameters.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    heads = {width: max(1, round(width / 32)) for width in range(32, 1025, 8)}
    counts = {
        (layers, width): (vocabulary + context) * width + layers * (12 * width**2 + 13 * width) + 2 * width
        for layers in (2, 3, 4)
        for width in heads
        if width % heads[width] == 0
    }
    layers, width = min(counts, key=lambda shape: abs(counts[shape] - parameters))
    shape = {"n_positions": context, "n_embd": width, "n_layer": layers, "n_head": heads[width]}
    # None of attention weights: on a CPU it takes a third of the time.
    dropouts = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": 0.0}
    config = GPT2Config(vocab_size=vocabulary, bos_token_id=bos, eos_token_id=None, **shape, **dropouts)
    return GPT2LMHeadModel(config)


def chunks(sequences: Sequence[Tensor], batch: int, context: int, generator: np.random.Generator) -> Tensor:
    """Return random chunks (B, context + 1) of pieces drawn in proportion to their lengths, padded with `IGNORED`.

    A start is drawn up to half a context outside of the chunks that fit and moved to the nearest that does, because
    few chunks hold the beginning or the end of a piece.
    """
    lengths = np.array([len(ids) for ids in sequences])
    found = torch.full((batch, context + 1), IGNORED)
    for row, number in enumerate(generator.choice(len(lengths), batch, p=lengths / lengths.sum())):
        last = max(int(lengths[number]) - context - 1, 0)
        start = min(max(int(generator.integers(-context // 2, last + context // 2 + 1)), 0), last)
        ids = sequences[number][start : start + context + 1]
        found[row, : len(ids)] = ids
    return found


def token_nats(model: Any, chunk: Tensor) -> Tensor:
    """Return the nats (B, T - 1) of each token of chunks (B, T) after the first; 0 where there is `IGNORED`."""
    logits = model(input_ids=chunk[:, :-1].clamp(min=0), use_cache=False).logits
    nats = F.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten(), ignore_index=IGNORED, reduction="none")
    return nats.view(len(chunk), -1)


def windows_of(length: int, context: int) -> list[tuple[int, int, int]]:
    """Return the windows that score a piece of `length` tokens: (start, first scored token, end), each token once."""
    stride, windows, scored, start = context // 2, [], 1, 0
    while scored < length:
        end = min(start + context + 1, length)
        windows.append((start, scored, end))
        scored, start = end, start + stride
    return windows


@torch.no_grad()
def score(model: Any, sequences: Sequence[Tensor], context: int, most: int | None = None) -> list[Tensor]:
    """Return the nats (L - 1,) of every token after BOS of each piece, teacher forced.

    With `most`, only that many windows are scored, evenly spread; the other tokens are NaN.
    """
    model.eval()
    found = [torch.full((len(ids) - 1,), math.nan, dtype=torch.float64) for ids in sequences]
    windows = [(k, *window) for k, ids in enumerate(sequences) for window in windows_of(len(ids), context)]
    if most is not None and len(windows) > most:
        windows = [windows[k] for k in np.linspace(0, len(windows) - 1, most).round().astype(int)]
    for place in range(0, len(windows), SCORING_BATCH):
        batch = windows[place : place + SCORING_BATCH]
        parts = [sequences[k][start:end] for k, start, _, end in batch]
        nats = token_nats(model, torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=IGNORED))
        for row, (k, start, first, end) in enumerate(batch):
            found[k][first - 1 : end - 1] = nats[row, first - 1 - start : end - 1 - start]
    return found


def learning_rate(share: float, peak: float) -> float:
    """Return the learning rate after a share of the time."""
    cosine = (1 + math.cos(math.pi * min((share - WARM_UP) / (1 - WARM_UP), 1.0))) / 2
    return peak * (cosine if share >= WARM_UP else max(share / WARM_UP, 0.01))


def train(model: Any, pieces: Sequence[TokenizedPiece], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train for `arguments.seconds`, load the best weights, and return what was done."""
    training, validation = ([p.ids for p in pieces if p.part == part] for part in ("train", "validation"))
    generator = np.random.default_rng(arguments.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    best, weights, steps, tokens = math.inf, model.state_dict(), 0, 0
    curve: list[dict[str, float]] = []
    wall = cpu = spent = 0.0
    while spent < arguments.seconds:
        model.train()
        started, started_cpu = time.perf_counter(), time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spent / arguments.seconds, arguments.learning_rate)
        chunk = chunks(training, arguments.batch, arguments.context, generator)
        count = int((chunk[:, 1:] != IGNORED).sum())
        loss = token_nats(model, chunk).sum() / count
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps, tokens = steps + 1, tokens + count
        wall, cpu = wall + time.perf_counter() - started, cpu + time.process_time() - started_cpu
        spent = cpu if arguments.clock == "cpu" else wall
        if spent >= arguments.seconds * (len(curve) + 1) / VALIDATIONS or spent >= arguments.seconds:
            measured = torch.cat(score(model, validation, arguments.context, MAX_VALIDATION_WINDOWS))
            nats = float(measured.nanmean())
            curve.append({"seconds": spent, "steps": steps, "nats_per_token": nats})
            print(f"{spent:7.1f} s  {steps:6,} steps  validation {nats:.4f} nats per token", flush=True)
            if nats < best:
                best, weights = nats, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    times = {"seconds_trained": wall, "cpu_seconds_trained": cpu}
    return {**times, "steps": steps, "tokens_seen": tokens, "validations": curve}


def figures(model: Any, pieces: Sequence[TokenizedPiece], context: int, unit: TimeUnit) -> dict[str, Any]:
    """Return the nats of pieces in all, per token, note and beat, the bits per second, and the sums of each piece.

    Seconds and beats are those from the first onset of a piece to its last release; performances have no beats.
    """
    rows: list[dict[str, Any]] = []
    for piece, nats in zip(pieces, score(model, [piece.ids for piece in pieces], context), strict=True):
        row = {"name": piece.name, "nats": float(nats.sum()), "tokens": len(nats), "notes": len(piece.notes)}
        for key in ("beats", "seconds"):
            onset, duration = getattr(piece.notes, f"onset_{key}"), getattr(piece.notes, f"duration_{key}")
            row[key] = float((onset + duration).max() - onset[0])
        rows.append(row if unit is TimeUnit.beats else row | {"beats": None})
    total = {key: sum(row[key] for row in rows) for key in ("nats", "tokens", "notes", "seconds")}
    beats = sum(row["beats"] for row in rows) if unit is TimeUnit.beats else None
    return {
        **total,
        "beats": beats,
        "nats_per_note": total["nats"] / total["notes"],
        "nats_per_token": total["nats"] / total["tokens"],
        "nats_per_beat": total["nats"] / beats if beats else None,
        "bits_per_second": total["nats"] / math.log(2) / total["seconds"],
        "pieces": rows,
    }


def sample(model: Any, tokenizer: Any, primer: Tensor, arguments: argparse.Namespace) -> list[Tensor]:
    """Return P sequences of tokens that begin with a primer and go on for `arguments.notes` notes.

    They are sampled at temperature 1 from the nucleus of mass `arguments.top_p` (Holtzman et al. 2020). When the
    context is full, the network reads its second half again.
    """
    model.eval()
    torch.manual_seed(arguments.seed)
    context, begin = arguments.context, onset_tokens(tokenizer)
    special = [tokenizer["PAD_None"], tokenizer["BOS_None"]]
    options = {
        "do_sample": True,
        "top_k": 0,
        "top_p": arguments.top_p,
        "suppress_tokens": special,
        "pad_token_id": special[0],
    }
    found = primer.repeat(arguments.pieces, 1)
    # A network that has learned little may sample no note for long.
    while found.shape[1] < len(primer) + 50 * arguments.notes:
        if torch.isin(found[:, len(primer) :], begin).sum(1).min() > arguments.notes:
            break
        read = found[:, -(context // 2) :]
        made = model.generate(
            read, attention_mask=torch.ones_like(read), max_new_tokens=context - read.shape[1], **options
        )
        found = torch.cat([found, made[:, read.shape[1] :]], 1)
    cut = []
    for ids in found:
        notes = torch.isin(ids[len(primer) :], begin).cumsum(0)
        ids = ids[: len(primer) + int((notes <= arguments.notes).sum())]
        cut.append(release_notes(tokenizer, ids) if arguments.tokenizer == "midilike" else ids)
    return cut


def compose(
    model: Any, tokenizer: Any, first: TokenizedPiece, source: Piece, arguments: argparse.Namespace
) -> list[Composition]:
    """Compose pieces, write them as MIDI files beside `arguments.output`, and return them as `composer` reads them.

    The primer is the first notes of `first`, which is `source` as tokens; it is no part of what is written.
    """
    unit, count = source.events.time_unit, arguments.primer
    primer = first.ids[: 1 + int((torch.isin(first.ids[1:], onset_tokens(tokenizer)).cumsum(0) <= count).sum())]
    primer, whole = primer if count else first.ids[:1], decode(tokenizer, first.ids)
    given = set(zip(whole["onset"][:count].tolist(), whole["pitch"][:count].tolist(), strict=True))
    tempo = 60 * BEATS_PER_SECOND if unit is TimeUnit.seconds else 6e7 / source.timing.microseconds_per_beat
    folder = arguments.output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    composed = []
    for number, ids in enumerate(sample(model, tokenizer, primer, arguments)):
        made = decode(tokenizer, ids)
        if not tokenizer.config.use_velocities:
            made["velocity"][:] = first.notes.velocity[0]
        rows = zip(*(made[key] for key in ("onset", "duration", "pitch", "velocity")), strict=True)
        kept = [row for row in rows if (float(row[0]), float(row[2])) not in given]
        # Without the silence of whole quarter notes where the primer was.
        start = math.floor(min((row[0] for row in kept), default=0))
        # A network that has learned little releases notes at once; 1/96 of a quarter note is the least.
        notes = [(float(on - start), max(float(length), 1 / 96), int(p), int(v)) for on, length, p, v in kept]
        if not notes:
            continue
        path = folder / f"{arguments.tokenizer}-seed{arguments.seed}-{number:03d}.mid"
        Piece.from_notes(notes, "beats", name=path.stem, beats_per_minute=tempo).save(path)
        piece = read_piece(path, part="all", time_unit=unit)
        composed.append(Composition(piece, np.empty((0, 3), np.int64), piece))
    return composed


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read, tokenize, train, score and compose; return the figures of the JSON file."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    chorales = arguments.data == "chorales"
    source = ("data=chorales",) if chorales else ("data=midi", f"data.path={Path(arguments.data).resolve()}")
    config = compose_config(*source, "data.split=file", "encoding=auto")
    corpus = read_corpus(config.data, config.encoding)
    unit, parts = corpus.encoding.unit, corpus.parts or []
    notes = [notes_of(piece) for piece in corpus.pieces]
    tokenizer = make_tokenizer(arguments.tokenizer, notes, unit, arguments.positions)
    pieces = [
        TokenizedPiece(found.name, found, encode(tokenizer, found, unit), part.value)
        for found, part in zip(notes, parts, strict=True)
    ]
    of_part = {part: [piece for piece in pieces if piece.part == part] for part in ("train", "validation", "test")}
    if not all(of_part.values()):
        raise ComposerError(f"{arguments.data}: needs pieces for train, validation and test")
    vocabulary, bos = len(tokenizer), tokenizer["BOS_None"]
    model = make_model(vocabulary, arguments.context, arguments.parameters, arguments.dropout, bos)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(pieces)} pieces in {unit.value}, {vocabulary} tokens, {parameters:,} parameters", flush=True)
    trained = train(model, pieces, arguments)
    val, test = (figures(model, of_part[part], arguments.context, unit) for part in ("validation", "test"))
    composed = None
    if arguments.pieces:
        first = of_part["train"][0]
        made = compose(model, tokenizer, first, corpus.pieces[pieces.index(first)], arguments)
        splits, _ = split_corpus(corpus, config.data, arguments.seed)
        reference = ReferenceMusic(corpus.pieces, splits, config.data, arguments.seed)
        composed = judge(made, reference).to_plain() if made else None
    keys = ("pitch_range", "num_velocities", "use_velocities", "use_time_signatures", "use_tempos", "use_rests")
    options = ("tokenizer", "clock", "context", "seed", "batch", "dropout", "learning_rate", "top_p", "primer")
    return {
        "data": arguments.data if chorales else Path(arguments.data).name,
        **{key: getattr(arguments, key) for key in options},
        "time_unit": unit.value,
        "tokenizer_config": {
            **{key: getattr(tokenizer.config, key) for key in keys},
            "beat_res": {f"{low}-{high} beats": value for (low, high), value in tokenizer.config.beat_res.items()},
        },
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "parameters": parameters,
        "shape": {"layers": model.config.n_layer, "width": model.config.n_embd, "heads": model.config.n_head},
        "vocabulary": vocabulary,
        "seconds_budget": arguments.seconds,
        **trained,
        "val": {key: value for key, value in val.items() if key != "pieces"},
        "test": test,
        "representation": measure_representation(tokenizer, of_part["test"], unit),
        "composed": composed,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """Return the table for the terminal, at most 80 columns."""
    rows: list[tuple[str, ...]] = [("", "val", "test")]
    for key in ("notes", "tokens", "nats_per_note", "nats_per_token", "nats_per_beat", "bits_per_second"):
        values = [found[part][key] for part in ("val", "test")]
        rows.append((key, *("-" if v is None else f"{v:,}" if isinstance(v, int) else f"{v:.4f}" for v in values)))
    text = [f"{key:<24}{val:>14}{test:>14}" for key, val, test in rows]
    text += [f"{key:<24}{value:>28.4f}" for key, value in found["representation"].items()]
    if found["composed"]:
        copying, quality = found["composed"]["copying"], found["composed"]["quality"]
        for key, value in (
            ("distance", quality["distance"]),
            ("distance of human music", quality["distance_among"]),
            ("interval_8 copied", copying["composed"].get("interval_8")),
            ("interval_8 of held-out", (copying["held_out"] or {}).get("interval_8")),
        ):
            text.append(f"{key:<24}{'-' if value is None else f'{value:.4f}':>28}")
    return text


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="chorales, or a folder of MIDI files with a CSV file")
    parser.add_argument("--tokenizer", choices=("remi", "midilike"), default="remi")
    parser.add_argument("--seconds", type=float, default=300.0, help="time of the training")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what --seconds counts")
    parser.add_argument("--parameters", type=int, default=500_000)
    parser.add_argument("--context", type=int, default=256, help="tokens that the network reads")
    parser.add_argument("--positions", type=int, default=32, help="per half second of performances")
    parser.add_argument("--batch", type=int, default=4, help="chunks per step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pieces", type=int, default=4, help="composed pieces")
    parser.add_argument("--notes", type=int, default=200, help="of a composed piece, without the primer")
    parser.add_argument("--primer", type=int, default=15, help="notes of the first training piece; 0 begins with BOS")
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--output", type=Path, required=True, help="JSON file; composed pieces are put beside it")
    return parser.parse_args(argv)


def main() -> None:
    """Run, write the figures and print them."""
    arguments = arguments_of()
    if not all(map(find_spec, PACKAGES)):
        raise SystemExit("peer.py needs miditok and transformers: pip install 'lstm-composer[peer]'")
    try:
        found = run(arguments)
        write_json(arguments.output, found)
    except ComposerError as error:
        raise SystemExit(f"peer.py: {error}") from error
    print("\n".join([*lines(found), f"written to {arguments.output}"]))


if __name__ == "__main__":
    main()
