"""The tables of methods and metrics say what the docstrings say."""

import importlib.util
from pathlib import Path

import pytest

from jaxinterp import attribution
from jaxinterp.attribution import gradient

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
assert SPEC is not None
assert SPEC.loader is not None
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.parametrize("page", tables.PAGES)
def test_a_page_is_up_to_date(page):
    text = (ROOT / page).read_text("utf-8")
    assert tables.BLOCK.search(text), f"{page} has no table"
    assert tables.filled(text) == text, "run `python -m docs.tables`"


def test_a_row_is_the_first_line_and_the_cost():
    expected = "| `gradient` | by the gradient of the score | one backward pass |"
    assert tables.row(gradient, "Attributes") == expected
    assert expected in tables.table("methods").splitlines()


def test_what_a_docstring_lacks_is_an_error():
    def method():
        """Attributes without a price."""

    with pytest.raises(ValueError, match=r"method\(\) starts with .*\n.*'Cost: '"):
        tables.row(method, "Attributes")
    with pytest.raises(ValueError, match="start with 'Says'"):
        tables.row(gradient, "Says")


def test_every_method_is_compared_with_what_others_have():
    text = (ROOT / "docs" / "methods.md").read_text("utf-8")
    first_cells = [line.split("|")[1] for line in text.splitlines() if "|" in line]
    names = {name for cell in first_cells for name in cell.split("`")[1::2]}
    methods = tables.functions_that_return("Attribution", attribution)
    exported = {method.__name__ for method in methods}
    assert "lrp" in exported
    assert exported - names == set()
