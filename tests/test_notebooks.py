"""The notebooks run from top to bottom on the bundled excerpt."""

from pathlib import Path

import nbformat
import pytest
from conftest import SAMPLE
from nbclient import NotebookClient

NOTEBOOKS = SAMPLE.parent / "notebooks"
QUICK = ("01_exploration",)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.stem, marks=() if p.stem in QUICK else pytest.mark.slow)
        for p in sorted(NOTEBOOKS.glob("*.ipynb"))
    ],
)
def test_a_notebook_runs(path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # stored without what it prints
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert printed and (pictures or path.stem.startswith("04"))
