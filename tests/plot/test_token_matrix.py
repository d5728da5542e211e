"""A matrix of tokens in colors: what a browser gets, and what it shows."""

import html
import json
import re

import numpy as np
import pytest

from jaxinterp.plot import heatmap, token_matrix

RNG = np.random.default_rng(0)
SOURCES = ["This", "<b>&\"'", "\u05e9\u05dc\u05d5\u05dd", "two\nlines", "\U0001f600"]
TARGETS = ["</div>", "n\u00e4h", "' onload='"]
VALUES = RNG.normal(size=(3, 5))


def matrix():
    return token_matrix(TARGETS, SOURCES, VALUES)


def data(name):
    quoted = re.search(rf'data-{name}="(.*?)"', matrix().html, re.DOTALL)[1]
    return json.loads(html.unescape(quoted))


def test_colors_are_those_of_a_heatmap_and_numbers_those_given():
    expected = heatmap(VALUES[None, ..., None])[0]
    np.testing.assert_allclose(matrix().colors, expected, atol=1e-12)
    np.testing.assert_allclose(data("values"), VALUES, rtol=1e-2)
    assert matrix()._repr_html_() == matrix().html


def test_every_token_survives_and_none_is_code():
    page = matrix().html
    assert page.isascii()
    shown = [html.unescape(text) for text in re.findall(r"<bdi>(.*?)</bdi>", page)]
    visible = [text.replace("\n", "\u21b5") for text in (*SOURCES, *TARGETS)]
    assert shown == visible
    assert [*data("sources"), *data("targets")] == visible
    assert "<b>&" not in page
    assert "' onload" not in page
    assert page.count("</div>") == page.count("<div")


def test_it_asks_for_nothing_from_elsewhere():
    page = matrix().html
    assert re.findall(r'src="(.{21})', page) == ["data:image/png;base64"]
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("targets", "values", "message"),
    [
        (TARGETS, VALUES[None], r"one matrix.*\n.*`relevance\[0\]`"),
        (TARGETS, VALUES.T, "5 rows and 3 targets"),
        (TARGETS, VALUES[:, :4], "4 columns and 5 sources"),
        (TARGETS, np.full((3, 5), np.nan), "NaN"),
    ],
)
def test_what_cannot_be_drawn(targets, values, message):
    with pytest.raises(ValueError, match=message):
        token_matrix(targets, SOURCES, values)
