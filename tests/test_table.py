"""Tables as text and as HTML."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.table import cell, format_table, html_table


def test_columns_are_aligned():
    rows = [("a", "10"), ("bcd", "5")]
    assert format_table(("name", "n"), rows, right=(1,)).splitlines() == [
        *("name   n", "--------", "a     10", "bcd    5")
    ]


def test_html_is_escaped():
    table = html_table(("a", "b"), [("<x>", "1 & 2")])
    assert "<th>a</th><th>b</th>" in table
    assert "<tr><td>&lt;x&gt;</td><td>1 &amp; 2</td></tr>" in table


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, jnp.asarray])
def test_numbers_of_every_kind_are_cells(kind):
    assert cell(kind(0.125), ".3g") == "0.125"
    assert cell(kind(2.0)) == "2.00"
    assert cell(kind("nan" if kind is float else np.nan)) == "none"
    assert cell(kind(np.nan), undefined="NaN") == "NaN"


def test_large_integers_keep_their_digits():
    assert cell(2**70 + 1, ",") == "1,180,591,620,717,411,303,425"
    assert cell(np.int64(1234), ",") == "1,234"
    assert cell(None) == ""
