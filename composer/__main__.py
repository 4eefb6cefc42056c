"""The command `composer`, also as `python -m composer COMMAND ...`."""

import sys
from pathlib import Path

# MosaicML's training library has the same import name; where both are installed, each overwrites files of the other.
CONFLICT = (
    "composer: MosaicML's package composer is installed in the same environment ({folder}); keep one of them per "
    "environment: pip uninstall composer mosaicml lstm-composer, then install lstm-composer again"
)


def main() -> None:
    """Run the command line, unless another package has replaced files of this one."""
    folder = Path(__file__).parent
    if (folder / "core" / "event.py").exists():
        sys.exit(CONFLICT.format(folder=folder))
    from composer.cli import main as run

    run()


if __name__ == "__main__":
    main()
