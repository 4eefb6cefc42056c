"""The drills of `scripts/drill.py`, at the size that CI runs; `make test-nightly` runs many more cases."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "drill.py"
# Cases in CI, and at night. A case of `damage` takes a third of a second, one of the others five to fifteen.
CASES = {
    "damage": (10, 5000),
    "kill": (1, 120),
    "disk": (0, 100),
    "changing": (0, 20),
    "together": (1, 40),
    "clock": (0, 10),
    "names": (0, 14),
    "places": (0, 1),
    "size": (0, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost_in_a_drill(name: str, repetitions: Callable[[int, int], int]) -> None:
    count = repetitions(*CASES[name])
    if not count:
        pytest.skip("only in make test-nightly")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name, "--count", str(count)],
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )
    if "left out:" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(rf"^{name}: tried (\d+), survived (\d+) \(.*\), lost 0$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert int(found[1]) == int(found[2]) >= min(count, 2)


def test_the_drills_are_listed() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CASES)
