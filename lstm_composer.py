"""Entry point of the command `composer`, outside the package of that name.

MosaicML's training library has the import name `composer` too. Installed in the same environment it replaces
`composer/__init__.py`, `composer/__main__.py` and the command `composer`, so the check cannot be in those files.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

CONFLICT = (
    "composer: MosaicML's package composer is installed in the same environment ({folder}); keep one of them per "
    "environment: pip uninstall composer mosaicml lstm-composer, then install lstm-composer again"
)
INCOMPLETE = (
    "composer: files of lstm-composer are missing ({folder}), as after the removal of another package named composer; "
    "pip uninstall lstm-composer, then install it again"
)


def problem() -> str | None:
    """Return one line that says why the package `composer` cannot run; None if it can."""
    spec = importlib.util.find_spec("composer")
    # Without __init__.py it is a namespace package, which can have several folders.
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []
    for folder in folders:
        if (folder / "core" / "event.py").exists():
            return CONFLICT.format(folder=folder)
    if not any((folder / "__init__.py").exists() and (folder / "cli.py").exists() for folder in folders):
        return INCOMPLETE.format(folder=folders[0] if folders else Path(__file__).parent / "composer")
    return None


def main() -> None:
    """Run the command line, unless another package has replaced files of this one."""
    line = problem()
    if line is not None:
        sys.exit(line)
    from composer.cli import main as run

    run()


if __name__ == "__main__":
    main()
