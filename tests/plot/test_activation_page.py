"""A page of the parts of a layer: its numbers, images and default state."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxinterp.plot import activation_page

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(size=(6, 9, 3))
MAPS = RNG.normal(size=(4, 2, 3))
ICONS = RNG.uniform(size=(4, 5, 5, 3))
CELLS = RNG.uniform(size=(2, 3, 4, 4, 3))


class Page(HTMLParser):
    """The elements of a page by tag, each with its attributes and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in ("img", "meta"):
            self.open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, number in self.open:
            self.elements[number][2] += data

    def of(self, tag, kind=""):
        return [
            (attributes, text)
            for name, attributes, text in self.elements
            if name == tag
            and (not kind or kind in attributes.get("class", "").split(" "))
        ]


def pixels(attributes):
    data = re.fullmatch(r"data:image/png;base64,(.*)", attributes["src"]).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) / 255


def test_all_numbers_and_images_are_in_it_at_their_parts_and_places():
    names = ["eye", "$side", "<b>'\"", "\N{GREEK SMALL LETTER ALPHA}"]
    page = Page(
        activation_page(IMAGE, MAPS, ICONS, cells=CELLS, names=names, quality=None)
    )
    (root,) = [a for a, _ in page.of("div", "jaxinterp-activations")]
    stored = np.array(json.loads(root["data-maps"])).reshape(MAPS.shape)
    np.testing.assert_allclose(stored, MAPS, rtol=1e-3)
    assert float(root["data-largest"]) == pytest.approx(np.abs(MAPS).max(), rel=1e-3)
    (image,) = [pixels(a) for a, _ in page.of("img", "input")]
    np.testing.assert_allclose(image, IMAGE, atol=0.5 / 255)
    icons = {a["alt"]: pixels(a) for a, _ in page.of("img", "icon")}
    for name, icon in zip(names, ICONS, strict=True):
        np.testing.assert_allclose(icons[name], icon, atol=0.5 / 255)
    cells = np.array([pixels(a) for a, _ in page.of("img", "cell")])
    np.testing.assert_allclose(cells.reshape(CELLS.shape), CELLS, atol=0.5 / 255)


def test_it_starts_at_the_largest_number_with_the_strongest_parts():
    page = Page(activation_page(IMAGE, MAPS, names="abcd", top=2))
    place = np.abs(MAPS).max(axis=0).argmax()
    (chosen,) = [a for a, _ in page.of("div", "chosen")]
    assert int(chosen["data-place"]) == place
    values = MAPS.reshape(4, 6)[:, place]
    order = np.argsort(-np.abs(values))
    figures = page.of("figure")
    assert [int(a["data-part"]) for a, _ in figures] == order.tolist()
    assert ["hidden" in a for a, _ in figures] == [False, False, True, True]
    for number, (_, text), (bar, _) in zip(
        order, figures, page.of("div", "bar"), strict=True
    ):
        name, value = text.split(": ")
        assert name.strip() == "abcd"[number]
        assert float(value) == pytest.approx(values[number], rel=1e-3)
        width = float(re.search(r"width: ([\d.]+)%", bar["style"]).group(1))
        expected = 100 * abs(values[number]) / np.abs(values).max()
        assert width == pytest.approx(expected, abs=0.1)
        assert ("178, 24" in bar["style"]) == (values[number] > 0)


def test_every_place_says_what_is_strongest_there():
    page = Page(activation_page(IMAGE, MAPS, names="abcd"))
    titles = [a["title"] for a, _ in page.of("div", "place")]
    strongest = np.abs(MAPS).argmax(axis=0)
    for (row, column), number in np.ndenumerate(strongest):
        start = f"row {row}, column {column}: {'abcd'[number]} "
        assert titles[3 * row + column].startswith(start)


def test_the_area_of_a_cell_is_its_size():
    sizes = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    page = activation_page(IMAGE, MAPS, cells=CELLS, sizes=sizes)
    widths = re.findall(r'<div style="width: ([\d.]+)%"', page)
    assert [float(w) for w in widths] == [100, 50, 0, 50, 50, 50]


def test_the_page_needs_nothing_else_and_nan_is_named():
    maps = MAPS.copy()
    maps[0, 0, 0] = np.nan
    page = activation_page(IMAGE, maps, ICONS, title="All of <it>")
    assert page.isascii()
    assert "All of &lt;it&gt;" in page
    assert not re.search(r"https?:|<link|<script|src=\"(?!data:)", page)
    (root,) = [a for a, _ in Page(page).of("div", "jaxinterp-activations")]
    assert json.loads(root["data-maps"])[0][0] is None
    assert page == activation_page(IMAGE, maps, ICONS, title="All of <it>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": IMAGE[None]}, r"shows one image, .* \(1, 6, 9, 3\)"),
        ({"maps": MAPS[0]}, r"`maps` are \(parts, rows, columns\), .* \(2, 3\)"),
        ({"icons": ICONS[:3]}, "4 maps and 3 icons"),
        ({"cells": CELLS[:1]}, r"\(2, 3\) places, `cells` of \(1, 3\)"),
        ({"sizes": -np.ones((2, 3))}, "which are not negative"),
        ({"names": "ab"}, "4 parts and 2 names"),
        ({"top": 0}, "`top` must be an integer"),
        ({"side": 0}, "`side` must be an integer"),
    ],
)
def test_what_cannot_be_shown(change, message):
    arguments = {"image": IMAGE, "maps": MAPS, "cells": CELLS} | change
    with pytest.raises(ValueError, match=message):
        activation_page(**arguments)
