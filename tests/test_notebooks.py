"""Notebooks: what is folded away, and the pages that are made of them."""

import ast
import base64
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
PICTURE = base64.b64encode(b"a picture").decode()


def code_cells(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_asserts_and_training_are_folded_away(path):
    for cell in code_cells(path):
        source = re.sub(r"(?m)^%", "#", "".join(cell["source"]))
        does = {type(node) for node in ast.walk(ast.parse(source))}
        if cell["metadata"]:
            assert cell["metadata"] == FOLDED
            assert re.match(r"# @title \w.*\n", source)
        else:
            assert ast.Assert not in does
            assert "optimizer" not in source


def made_up(folder, *, executed):
    """A notebook of three cells, with its outputs or without."""
    nbformat = pytest.importorskip("nbformat")
    new = nbformat.v4
    outputs = [
        new.new_output("stream", name="stdout", text="\x1b[31m7\x1b[0m\n"),
        new.new_output("stream", name="stderr", text="a warning"),
        new.new_output("stream", name="stdout", text="8\n"),
        new.new_output("display_data", {"image/png": PICTURE, "text/plain": "fig"}),
        new.new_output("execute_result", {"text/html": "<b>a</b>\n\n<i>b</i>"}),
        new.new_output("execute_result", {"text/plain": "{'a': 1}"}),
    ]
    cells = [
        new.new_markdown_cell(
            "# A title\n\n[next](02_next.ipynb), [more](../docs/a.md)"
        ),
        new.new_code_cell("%matplotlib inline\nx = 1\nx"),
        new.new_code_cell("# @title Checks\nassert x\n\nassert x == 1"),
    ]
    cells[1].outputs = outputs if executed else []
    cells[2].metadata.update(FOLDED)
    folder.mkdir(exist_ok=True)
    nbformat.write(new.new_notebook(cells=cells), folder / "01_one.ipynb")
    return folder / "01_one.ipynb"


@pytest.fixture
def hook():
    pytest.importorskip("mkdocs")
    from docs import notebooks

    return notebooks


def test_a_page_has_what_the_executed_copy_shows(hook, tmp_path):
    path = made_up(tmp_path, executed=False)
    made_up(tmp_path / "executed", executed=True)
    text, pictures = hook.page(path)
    assert text == (
        "# A title\n\n[next](02_next.md), [more](../a.md)\n\n"
        "```python\nx = 1\nx\n```\n\n"
        "```text\n7\n8\n```\n\n"
        "![What the cell draws](01_one_0.png)\n\n"
        '<div class="output">\n<b>a</b>\n<i>b</i>\n</div>\n\n'
        "```text\n{'a': 1}\n```\n\n"
        '??? quote "Checks"\n\n'
        "    ```python\n    assert x\n\n    assert x == 1\n    ```\n"
    )
    assert pictures == {"01_one_0.png": b"a picture"}


@pytest.mark.parametrize("is_stale", [False, True])
def test_without_a_copy_of_these_cells_a_page_says_so(hook, tmp_path, is_stale):
    path = made_up(tmp_path, executed=False)
    if is_stale:
        copy = made_up(tmp_path / "executed", executed=True)
        copy.write_text(copy.read_text("utf-8").replace("x = 1", "x = 2"), "utf-8")
    text, pictures = hook.page(path)
    assert "x = 1" in text
    assert "run_all.py" in text
    assert "```text" not in text
    assert not pictures
