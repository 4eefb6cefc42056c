"""The notebooks of `examples/`: stored without outputs, and run from its start to its end."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))
FIRST_PIECE, OWN_NETWORK = NOTEBOOKS


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(code_cells(notebook)) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))
    assert set(json.loads(path.read_text())["metadata"]) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_first_cell_installs_the_package_where_it_is_missing(path: Path) -> None:
    first, *rest = code_cells(nbformat.read(path, as_version=4))
    assert 'find_spec("composer") is None' in first.source
    assert '%pip install --quiet "lstm-composer[score]"' in first.source
    assert not any("pip" in cell.source for cell in rest)


def run(path: Path, folder: Path) -> Any:
    """Run a notebook in a folder; returns it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_first_piece_runs_from_start_to_end(tmp_path: Path) -> None:
    notebook = run(FIRST_PIECE, tmp_path)
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


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_own_network_runs_from_start_to_end(tmp_path: Path) -> None:
    notebook = run(OWN_NETWORK, tmp_path)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    written = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "did you mean model.kernel" in written
    assert "model.name=lstm, model.hidden_size=128, model.num_layers=1 against model.name=dilated" in written
    shown = [output["data"] for output in outputs if "data" in output]
    assert sum("srcdoc=" in data.get("text/html", "") for data in shown) == 1
    assert "image/png" in shown[-1]
