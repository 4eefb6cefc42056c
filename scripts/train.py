"""`python scripts/train.py ...` is `composer train ...` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
