"""Pages of a browser: all pictures are in them, at their units, as they are."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxinterp.plot import feature_page

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 6, 9, 3))
EXAMPLES = RNG.uniform(size=(3, 5, 4, 4, 3))


class Page(HTMLParser):
    """The names of the units, and the pictures of each."""

    def __init__(self, text):
        super().__init__()
        self.units, self.pictures, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "figure":
            self.units.append(found["title"])
            self.pictures.append([])
        if tag == "img":
            kind, data = re.fullmatch(
                r"data:image/(\w+);base64,(.*)", found["src"]
            ).groups()
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            self.pictures[-1].append((found["class"], kind, picture / 255))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_each_unit_has_its_picture_and_its_examples():
    names = ["a:0", "$side \N{GREEK SMALL LETTER ALPHA}", "<b> & 'c' \""]
    page = Page(feature_page(IMAGES, EXAMPLES, names=names, quality=None))
    assert page.units == names
    assert page.open == []
    for i, pictures in enumerate(page.pictures):
        assert [kind for kind, *_ in pictures] == ["unit"] + 5 * ["example"]
        np.testing.assert_allclose(pictures[0][2], IMAGES[i], atol=0.5 / 255)
        for (*_, found), expected in zip(pictures[1:], EXAMPLES[i], strict=True):
            np.testing.assert_allclose(found, expected, atol=0.5 / 255)


def test_jpeg_is_close_and_smaller():
    smooth = np.linspace(0, 1, 64)[None, :, None, None] * np.ones((1, 64, 64, 3))
    ((_, kind, found),) = Page(feature_page(smooth, names=["a"])).pictures[0]
    assert kind == "jpeg"
    assert np.abs(found - smooth[0]).max() < 0.02
    noise = RNG.uniform(size=(1, 64, 64, 3))
    small, large = (
        feature_page(noise, names=["a"], quality=quality) for quality in (50, None)
    )
    assert len(small) < len(large) / 2


def test_a_picture_of_one_channel_and_one_that_is_nan():
    images = RNG.uniform(size=(2, 4, 4, 1))
    images[1, 0, 0, 0] = np.nan
    page = Page(feature_page(images, names=["a", "b"], quality=None))
    np.testing.assert_allclose(page.pictures[0][0][2], images[0, ..., 0], atol=0.002)
    assert page.units == ["a", "b"]
    assert page.pictures[1] == []


def test_the_page_needs_nothing_else():
    page = feature_page(IMAGES, EXAMPLES, names="abc", title="All of <it>")
    assert page.isascii()
    assert "All of &lt;it&gt;" in page
    assert not re.search(r"https?:|<link|<script|src=\"(?!data:)", page)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": "ab"}, "3 pictures, examples of 3 units and 2 names"),
        ({"examples": EXAMPLES[:2]}, "3 pictures, examples of 2 units and 3 names"),
        ({"images": IMAGES[0]}, r"`images` must be pictures \(units, height"),
        ({"images": 2 * IMAGES}, r"must be in \[0, 1\]"),
        ({"examples": IMAGES}, r"`examples` must be pictures \(units, k, height"),
        ({"quality": 100}, "up to 95, and is 100"),
        ({"quality": 0}, "`quality` must be an integer of at least 1"),
        ({"side": 0}, "`side` must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_shown(change, message):
    given = {"images": IMAGES, "examples": EXAMPLES, "names": "abc"} | change
    with pytest.raises(ValueError, match=message):
        feature_page(**given)
