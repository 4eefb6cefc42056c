"""A corpus of 300 million events: the memory that a training run needs, and how quickly windows are drawn from it.

    python benchmarks/large_store.py                         300 million events, in a temporary folder (2.5 GB of disk)
    python benchmarks/large_store.py --events 30000000

Makes a synthetic store (30,000 pieces, 1.2 GB), runs `composer train` on it as a process of its own, and watches
`/proc/PID/status` 50 times a second. `RssAnon` is the memory of the process itself. `RssFile` are pages of files that
it has mapped: libraries, and the store, whose pages the kernel drops whenever anybody needs the memory; `ru_maxrss`
counts both. Then the windows: from the store, whose classes are made as they are asked for, and from an array of
classes mapped from the disk, which would have to be written for every vocabulary.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from composer.corpus.build_store import folder_of, write_manifest
from composer.corpus.read_many import Entry, Parameters
from composer.corpus.store import EVENT_BITS, EVENTS, PITCH_BITS, TIMES, Store

PIECE = 10_000
WINDOW = 31


def synthetic(root: Path, cache: Path, events: int) -> Store:
    """A store of so many events, with files that only look as if they had been read."""
    parameters = Parameters("all", "seconds", False, False)
    root.mkdir(parents=True)
    folder = folder_of(cache, root, parameters)
    folder.mkdir(parents=True)
    old = time.time() - 1000
    entries = []
    for number in range(events // PIECE):
        path = root / f"{number // 1000:03d}" / f"{number:06d}.mid"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"-")
        os.utime(path, (old, old))
        entries.append(
            Entry(
                path=path.relative_to(root).as_posix(),
                size=1,
                mtime_ns=path.stat().st_mtime_ns,
                settled=True,
                sha256=f"{number:064x}",
                offset=number * PIECE,
                events=PIECE,
                pitch_low=36,
                pitch_high=99,
                division=480,
                tempo=500_000,
            )
        )
    version = write_manifest(folder, root, parameters, entries, len(entries) * PIECE, 1000)
    (folder / version).mkdir()
    np.save(folder / version / TIMES, np.arange(1000) * 0.005)
    rng = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(folder / version / EVENTS, "w+", np.uint32, (len(entries) * PIECE,))
    for begin in range(0, len(mapped), PIECE * 100):
        count = min(PIECE * 100, len(mapped) - begin)
        pitch = 36 + rng.integers(0, 64, count, np.uint32)
        velocity = rng.integers(0, 2, count, np.uint32) * rng.integers(1, 128, count, np.uint32)
        gap = np.minimum(rng.geometric(0.02, count) - 1, 999).astype(np.uint32)
        mapped[begin : begin + count] = gap << EVENT_BITS | velocity << PITCH_BITS | pitch
    mapped.flush()
    store = Store.open(folder)
    assert store is not None
    return store


def train(root: Path, cache: Path, folder: Path, split: str, supervision: str) -> None:
    """Run `composer train` and tell what it took."""
    run = folder / f"run-{split}-{supervision}"
    command = [
        *(sys.executable, str(ROOT / "scripts" / "train.py"), "data=midi", f"data.path={root}"),
        *(f"data.cache={cache}", f"data.split={split}", f"loss.supervision={supervision}", f"hydra.run.dir={run}"),
        *("data.windows_per_epoch=60000", "data.eval_windows=10000", "data.batch_size=300", "trainer.max_epochs=2"),
        *("trainer.threads=1", "model.hidden_size=32", "sampling.events=30"),
    ]
    started, ready = time.monotonic(), 0.0
    peaks = {"RssAnon": 0, "RssFile": 0, "VmRSS": 0}
    before = 0
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            for name in peaks:
                found = re.search(rf"{name}:\s+(\d+)", status)
                peaks[name] = max(peaks[name], int(found[1]) if found else 0)
            if not ready and (run / "checkpoints").exists():
                ready, before = time.monotonic() - started, peaks["RssAnon"]
            time.sleep(0.02)
        out = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(out)
    summary = json.loads((run / "summary.json").read_text())
    print(
        f"composer train, {split} split, supervision {supervision}: {ready:.1f} s to the first batch, "
        f"{time.monotonic() - started:.1f} s in all\n"
        f"  largest RssAnon {peaks['RssAnon'] / 1024:,.0f} MB ({before / 1024:,.0f} MB until the first batch), "
        f"RssFile {peaks['RssFile'] / 1024:,.0f} MB, both {peaks['VmRSS'] / 1024:,.0f} MB; "
        f"{summary['windows_train']:,} training windows",
        flush=True,
    )


def rate(draw: Callable[[int], object], batch: int, seconds: float = 3.0) -> float:
    """Windows a second."""
    draw(0)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += 1
        draw(count)
    return count * batch / (time.perf_counter() - started)


def throughput(store: Store, root: Path, cache: Path, folder: Path) -> None:
    """Windows a second from the store, in the order of an epoch, and from an array of classes."""
    from composer.config.compose import compose
    from composer.corpus.corpus import read_corpus
    from composer.data.prepare import split_corpus
    from composer.data.tokens import encode_pieces
    from composer.data.vocabulary import fit
    from composer.data.windows import BatchOrder, Windows

    overrides = ("data=midi", f"data.path={root}", f"data.cache={cache}", "encoding=performance")
    config = compose(*overrides)
    corpus = read_corpus(config.data, config.encoding)
    if not corpus.pieces.on_disk:
        sys.exit("--events: too few for the classes to be made from the store")
    splits, _ = split_corpus(corpus, config.data, 0)
    counts = corpus.pieces.counts(splits.train.covered_runs(0, WINDOW - 1))
    tokens = encode_pieces(corpus.pieces, fit(config.encoding, counts.times, counts.time, counts.velocity))
    windows = Windows(tokens, splits.train, WINDOW - 1)
    held = np.lib.format.open_memmap(folder / "classes.npy", "w+", np.uint8, (len(tokens), 3))
    for begin in range(0, len(tokens), 1 << 20):
        held[begin : begin + (1 << 20)] = tokens[begin : begin + (1 << 20)]
    held.flush()
    mapped = np.load(folder / "classes.npy", mmap_mode="r")
    views = np.lib.stride_tricks.sliding_window_view(mapped, WINDOW, axis=0)
    rng = np.random.default_rng(0)
    for batch in (30, 300, 4096):
        order = iter(BatchOrder(len(splits.train), batch, 0, shuffle=True, arithmetic=True))
        drawn = [rng.integers(0, len(tokens) - WINDOW, batch) for _ in range(2000)]

        def whole(number: int, order: object = order) -> object:
            return windows[next(order)]  # type: ignore[call-overload]

        def lazily(number: int, drawn: list[np.ndarray] = drawn) -> object:
            return tokens.windows(drawn[number % len(drawn)], WINDOW)

        def from_disk(number: int, drawn: list[np.ndarray] = drawn) -> object:
            return np.ascontiguousarray(views[drawn[number % len(drawn)]].transpose(0, 2, 1))

        print(
            f"batches of {batch}: {rate(whole, batch):,.0f} windows a second in the epoch's order; in a given order "
            f"{rate(lazily, batch):,.0f} from the store and {rate(from_disk, batch):,.0f} from classes on disk",
            flush=True,
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root, cache = folder / "music", folder / "cache"
        started = time.monotonic()
        store = synthetic(root, cache, arguments.events)
        size = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
        print(
            f"{len(store.events):,} events in {len(store.entries):,} pieces: {size / 1e9:.2f} GB, "
            f"made in {time.monotonic() - started:.0f} s; {asdict(store.parameters)}",
            flush=True,
        )
        for split, supervision in (("shuffled", "every"), ("by_piece", "last")):
            train(root, cache, folder, split, supervision)
        throughput(store, root, cache, folder)


if __name__ == "__main__":
    main()
