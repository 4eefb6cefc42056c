"""`python scripts/evaluate.py ...` is `composer evaluate ...` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from composer.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
