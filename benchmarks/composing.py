"""How fast pieces are composed, beside the article's loop, which reads 30 events anew for every event.

    python benchmarks/composing.py                     one piece and 64, each way, on one thread
    python benchmarks/composing.py --events 1000000    a long run of --pieces: time and memory as it goes

The article's loop is plain PyTorch: a one-hot window through `nn.LSTM`, dropout off, one linear layer, three
softmaxes, three draws, and the window moved on. Everything is timed in turn, round after round, because the machine's
speed drifts, by the processor time of the one thread, and the ratios are those of the fastest rounds.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from composer.composing.named_rules import Scope, make_rules
from composer.composing.rules import silence
from composer.composing.sampling import Session
from composer.config.compose import compose
from composer.nets.build import Network, build_model

SIZES = (89, 128, 12)
WINDOW = 30


def article(hidden_size: int) -> Callable[[int], None]:
    """The article's loop, as a function of the number of events."""
    lstm = nn.LSTM(sum(SIZES), hidden_size, batch_first=True)
    linear, dropout = nn.Linear(hidden_size, sum(SIZES)), nn.Dropout().eval()
    window = primer(1)[0]
    offsets = torch.tensor([0, SIZES[0], SIZES[0] + SIZES[1]])

    def run(events: int) -> None:
        nonlocal window
        with torch.no_grad():
            for _ in range(events):
                one_hot = torch.zeros(1, WINDOW, sum(SIZES)).scatter_(2, (window + offsets)[None], 1.0)
                hidden, _ = lstm(one_hot)
                heads = torch.split(linear(dropout(hidden[:, -1])), list(SIZES), dim=1)
                event = torch.stack([torch.multinomial(torch.softmax(head, 1), 1)[0, 0] for head in heads])
                window = torch.cat([window[1:], event[None]])

    return run


def session(model: Network, pieces: int, *overrides: str) -> Session:
    """Pieces begun with a random primer."""
    config = compose("run=none", *overrides, command="generate")
    generators = [torch.Generator().manual_seed(k) for k in range(pieces)]
    return Session(model, primer(pieces), config, generators)


def primer(pieces: int) -> Tensor:
    """(B, T, 3) random classes."""
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(0, size, (1, WINDOW), generator=generator) for size in SIZES]
    return torch.stack(columns, dim=2).expand(pieces, -1, -1)


def seconds(run: Callable[[int], object], events: int) -> float:
    """Seconds of the processor an event."""
    started = time.process_time()
    run(events)
    return (time.process_time() - started) / events


def compare(model: Network, hidden_size: int, pieces: int, rounds: int) -> None:
    """Time each way in turn, and print the fastest rounds."""
    ways: dict[str, tuple[int, Callable[[int], object]]] = {"article's loop": (1, article(hidden_size))}
    for mode in ("window", "stateful"):
        for count in (1, pieces):
            ways[f"mode={mode} n={count}"] = (count, session(model, count, f"mode={mode}").take)
    ways[f"mode=stateful n={pieces} with rules"] = (pieces, with_rules(model, pieces))
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, (_, run) in ways.items():
            best[name] = min(best[name], seconds(run, 100))
    loop = best["article's loop"]
    for name, (count, _) in ways.items():
        rate = count / best[name]
        print(f"{name:<36}{rate:>10,.0f} events a second, {rate * loop:6.1f} times the article's loop")


def with_rules(model: Network, pieces: int) -> Callable[[int], object]:
    """A session with several rules."""
    overrides = ("mode=stateful", "playable=true", "polyphony=6", "max_note_seconds=4", "repeats=4", "top_p=0.95")
    config = compose("run=none", *overrides, command="generate")
    times = torch.arange(SIZES[2], dtype=torch.float64) / 8
    generators = [torch.Generator().manual_seed(k) for k in range(pieces)]
    playing = silence(pieces, SIZES[0])
    limits = make_rules(Scope(config, SIZES[0], 24, times, 1.0))
    return Session(model, primer(pieces), config, generators, rules=limits, playing=playing).take


def long_run(model: Network, pieces: int, events: int, mode: str) -> None:
    """Compose so many events in all, and print time and memory at each tenth."""
    running = session(model, pieces, f"mode={mode}")
    part = max(1, events // pieces // 10)
    for tenth in range(1, 11):
        each = seconds(running.take, part) / pieces
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{tenth * part * pieces:>12,} events: {each * 1e6:6.1f} us an event, {memory:,.0f} MB at most", flush=True
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--pieces", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, help="of a long run, in all pieces together")
    parser.add_argument("--mode", default="stateful", choices=("window", "stateful"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model(compose(f"model.hidden_size={arguments.hidden_size}").model, SIZES).eval()
    if arguments.events:
        long_run(model, arguments.pieces, arguments.events, arguments.mode)
    else:
        compare(model, arguments.hidden_size, arguments.pieces, arguments.rounds)


if __name__ == "__main__":
    main()
