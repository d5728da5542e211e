"""The tables of methods and metrics say what the docstrings say."""

import importlib.util
from pathlib import Path

import pytest

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
