"""Train the run that comes with composer, `composer/pretrained`: `python scripts/make_pretrained.py [--output FOLDER]`.

It is a GRU on the embedded prelude, made by the recipe of `experiment=best` with a smaller network and a longer window:
two to six minutes on one core. The random numbers, the order of the windows and the number of threads are fixed: on the
same processor with the same version of PyTorch the weights are the same bits. Elsewhere rounding may change them; the
last line says so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from composer.commands.train import start
from composer.config.compose import compose
from composer.files import read_json, write_json
from composer.runs.checkpoint import load, model_state
from composer.runs.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    MANIFEST,
    METRICS,
    PRETRAINED,
    PRETRAINED_DIR,
    SAMPLING,
    SUMMARY,
)

OVERRIDES = (
    "experiment=best",
    f"name={PRETRAINED}",
    # Two bars of the prelude: with one, about the default, pieces repeat a bar many times.
    "data.window_size=64",
    "model.hidden_size=128",
    "model.embedding_size=16",
    "trainer.threads=1",
    "trainer.progress_bar=false",
    "logging.sample_media=false",
)
# Of a run directory what composing, scoring and the page of a run read; `last.ckpt`, which only a training reads, is
# three times as large.
FILES = (CONFIG, MANIFEST, METRICS, SAMPLING, SUMMARY, f"{CHECKPOINTS}/{BEST}")
# Where and from which commit it was made is of no use to others.
_LEFT_OUT = ("platform", "git")
MAX_BYTES = 1_000_000


def main() -> int:
    """Train, and replace the files of a folder by those of the run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PRETRAINED_DIR, help="folder (default: %(default)s)")
    folder = parser.parse_args().output
    before = _weights(folder)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / PRETRAINED
        start(compose(*OVERRIDES), run)
        manifest = {key: value for key, value in read_json(run / MANIFEST).items() if key not in _LEFT_OUT}
        write_json(run / MANIFEST, manifest, checked=True)
        size = sum((run / name).stat().st_size for name in FILES)
        if size >= MAX_BYTES:
            print(f"{size:,} bytes, larger than {MAX_BYTES:,}: not for the package")
            return 1
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, folder / name)
    print(f"{folder}: {size:,} bytes")
    if before is not None:
        after = _weights(folder)
        assert after is not None
        same = before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
        print("the weights are those that were there" if same else "the weights differ from those that were there")
    return 0


def _weights(folder: Path) -> dict[str, torch.Tensor] | None:
    path = folder / CHECKPOINTS / BEST
    return model_state(load(path)) if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
