"""What `import composer` offers, and what it does not import."""

import subprocess
import sys
from pathlib import Path

import pytest

import composer


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_exported_name_is_there_and_listed() -> None:
    assert set(composer.__all__) <= set(dir(composer))
    assert all(getattr(composer, name) is not None for name in composer.__all__)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compose_music'"):
        composer.compose_music  # noqa: B018


def test_reading_and_comparing_runs_import_no_torch(trained: composer.Run, smaller: composer.Run) -> None:
    code = """
import sys
import composer
assert "numpy" not in sys.modules
first, second = composer.runs(sys.argv[1])
assert first.config.name == "train" and first.manifest["seed"] == 0 and first.summary["status"] == "completed"
assert len(first.metrics["loss/val"]) == 2
piece = composer.read(next((first.folder / "samples").glob("*.mid")))
assert "srcdoc" in piece._repr_html_()
assert len(composer.compare([first, second]).rows) > 2
print("torch" in sys.modules)
"""
    assert run_python(code, str(trained.folder.parent)) == "False"


@pytest.mark.parametrize("first", ["composer.runs.layout", "composer.compare.effects", "composer.api.runs"])
def test_functions_have_their_names_whatever_is_imported(first: str) -> None:
    code = f"import {first}; from composer.runs import layout; import composer; from composer import compare, runs\n"
    code += "print(callable(runs), callable(compare), composer.runs is runs, layout.CONFIG)"
    assert run_python(code) == "True True True config.yaml"


def test_the_package_tells_type_checkers_of_its_names() -> None:
    source = Path(composer.__file__).read_text(encoding="utf-8")
    named = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    assert all(name in named for name in composer._MODULES)
