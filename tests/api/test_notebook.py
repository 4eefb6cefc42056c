"""The notebook of `examples/`: stored without outputs, and run from its start to its end."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first_piece.ipynb"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(code_cells(notebook)) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))
    assert set(json.loads(NOTEBOOK.read_text())["metadata"]) == {"kernelspec", "language_info"}


def test_its_first_cell_installs_the_package_where_it_is_missing() -> None:
    first, *rest = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert 'find_spec("composer") is None' in first.source
    assert '%pip install --quiet "lstm-composer[score]"' in first.source
    assert not any("pip" in cell.source for cell in rest)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs_from_start_to_end(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    shown = [output["data"] for output in outputs if "data" in output]
    # The players of the read and of the composed piece.
    assert sum("srcdoc=" in data.get("text/html", "") for data in shown) == 2
    assert "image/png" in shown[-1]
    # The bar, and nothing on standard error.
    written = [output for output in outputs if output.output_type == "stream"]
    assert {output.name for output in written} == {"stdout"}
    assert any("epoch 15/15" in output.text for output in written)
    assert (tmp_path / "composed.mid").exists()
    assert len(nbformat.writes(notebook)) < 3_000_000
