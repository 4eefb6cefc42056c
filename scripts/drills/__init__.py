"""The drills of `scripts/drill.py`, one module each, with a function `run(tally, count, random, folder)`."""
