"""Build the documentation site into `build/docs`, with warnings as errors, and check its links (`make docs`).

    python scripts/docs.py [--output build/docs]

The pages of docs/ and a few other files are copied to `build/docs-source` with their links made for the site; Sphinx
builds it from there. No network is needed, neither to build the site nor to read it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from website.links import faults
from website.players import write_players
from website.sources import site_of, write_sources

from composer.errors import ComposerError


def main() -> int:
    """Build and check the site; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the documentation site and check its links.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "docs", help="folder of the site")
    output = parser.parse_args().output.resolve()
    sources, extra = output.with_name(f"{output.name}-source"), output.with_name(f"{output.name}-extra")
    for folder in (output, sources, extra):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    # Without Verovio the players have no score; the site is built all the same.
    warnings.simplefilter("ignore")
    try:
        write_sources(site_of(ROOT), sources, write_players(ROOT, extra))
    except ComposerError as error:
        print(f"make docs: {error}", file=sys.stderr)
        return 1
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"),
            *("--builder", "html", "--conf-dir", str(ROOT / "docs" / "site")),
            *("--doctree-dir", str(sources / ".doctrees"), str(sources), str(output)),
        ],
        env=os.environ | {"DOCS_EXTRA": str(extra)},
        check=False,
    )  # fmt: skip
    if built.returncode:
        return built.returncode
    if found := faults(output):
        print("\n".join(found), f"make docs: {len(found)} links lead nowhere", sep="\n", file=sys.stderr)
        return 1
    print(f"site         {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
