"""Pages of HTML: every image is in them, at its unit, as it is."""

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
    """The names of the units, and the images of each."""

    def __init__(self, text):
        super().__init__()
        self.units, self.images, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "figure":
            self.units.append(values["title"])
            self.images.append([])
        if tag == "img":
            kind, data = re.fullmatch(
                r"data:image/(\w+);base64,(.*)", values["src"]
            ).groups()
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            self.images[-1].append((values["class"], kind, pixels / 255))
        if tag == "div" and "nan" in values.get("class", ""):
            self.images[-1].append((values["class"], "nan", None))
        if tag not in ("img", "input", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_each_unit_has_its_image_and_its_examples():
    names = ["a:0", "$side \N{GREEK SMALL LETTER ALPHA}", "<b> & 'c' \""]
    page = Page(feature_page(IMAGES, EXAMPLES, names=names, quality=None))
    assert page.units == names
    assert page.open == []
    for i, group in enumerate(page.images):
        assert [kind for kind, *_ in group] == ["unit"] + 5 * ["example"]
        np.testing.assert_allclose(group[0][2], IMAGES[i], atol=0.5 / 255)
        for (*_, pixels), expected in zip(group[1:], EXAMPLES[i], strict=True):
            np.testing.assert_allclose(pixels, expected, atol=0.5 / 255)


def test_jpeg_is_close_and_smaller():
    smooth = np.linspace(0, 1, 64)[None, :, None, None] * np.ones((1, 64, 64, 3))
    ((_, kind, pixels),) = Page(feature_page(smooth, names=["a"])).images[0]
    assert kind == "jpeg"
    assert np.abs(pixels - smooth[0]).max() < 0.02
    noise = RNG.uniform(size=(1, 64, 64, 3))
    small, large = (
        feature_page(noise, names=["a"], quality=quality) for quality in (50, None)
    )
    assert len(small) < len(large) / 2


def test_an_image_of_one_channel_and_one_that_is_nan():
    images = RNG.uniform(size=(2, 4, 4, 1))
    images[1, 0, 0, 0] = np.nan
    page = Page(feature_page(images, names=["a", "b"], quality=None))
    np.testing.assert_allclose(page.images[0][0][2], images[0, ..., 0], atol=0.002)
    assert page.units == ["a", "b"]
    assert page.images[1] == [("unit nan", "nan", None)]
    examples = np.full((2, 1, 4, 4, 1), np.nan)
    page = Page(feature_page(images, examples, names=["a", "b"]))
    for group in page.images:
        assert group[-1] == ("example nan", "nan", None)


def test_neighboring_colors_are_not_mixed():
    image = np.zeros((1, 8, 8, 3))
    image[0, :, ::2, 0] = image[0, :, 1::2, 2] = 1
    ((*_, pixels),) = Page(feature_page(image, names=["a"])).images[0]
    np.testing.assert_allclose(pixels, image[0], atol=0.05)


@pytest.mark.parametrize(
    ("height", "example", "side", "expected"),
    [
        (8, 8, 128, "--unit: pixelated; --example: pixelated"),
        (256, 8, 128, "--unit: auto; --example: pixelated"),
        (32, 224, 128, "--unit: pixelated; --example: auto"),
        (128, 42, 128, "--unit: auto; --example: auto"),
    ],
)
def test_small_images_are_enlarged_pixel_by_pixel(height, example, side, expected):
    images = np.zeros((1, height, height, 3))
    examples = np.zeros((1, 9, example, example, 3))
    page = feature_page(images, examples, names=["a"], side=side)
    assert expected in page


@pytest.mark.parametrize(("side", "ends"), [(16, (16, 512)), (1000, (32, 1000))])
def test_the_slider_starts_at_the_size(side, ends):
    page = feature_page(IMAGES, names="abc", side=side)
    assert f'min="{ends[0]}" max="{ends[1]}" value="{side}"' in page


def test_the_page_needs_nothing_else():
    page = feature_page(IMAGES, EXAMPLES, names="abc", title="All of <it>")
    assert page.isascii()
    assert "All of &lt;it&gt;" in page
    assert not re.search(r"https?:|<link|<script|src=\"(?!data:)", page)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": "ab"}, "3 images and 2 names"),
        ({"names": 3}, "3 images and 3"),
        ({"names": [0.5] * 3}, r"one is 0\.5\. Write `names=\[str"),
        ({"title": 3}, "`title` is a text, and is 3"),
        ({"examples": EXAMPLES[:2]}, "3 images, and examples of 2 units"),
        ({"examples": EXAMPLES[:, :0]}, r"`examples` holds no image; .* \(3, 0, 4"),
        ({"images": IMAGES[0]}, r"`images` must be images \(units, height"),
        ({"images": 2 * IMAGES}, r"must be in \[0, 1\]"),
        ({"examples": IMAGES}, r"`examples` must be images \(units, k, height"),
        ({"quality": 100}, "up to 95, and is 100"),
        ({"quality": 0}, "`quality` must be an integer of at least 1"),
        ({"side": 0}, "`side` must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_shown(change, message):
    arguments = {"images": IMAGES, "examples": EXAMPLES, "names": "abc"} | change
    with pytest.raises(ValueError, match=message):
        feature_page(**arguments)


def test_names_may_be_in_an_array_and_images_transparent():
    images = RNG.random((2, 4, 4, 4))
    names = ["most", "least"]
    page = feature_page(images, names=np.array(names, object), quality=None)
    assert page == feature_page(images, names=names, quality=None)
    first = Page(page).images[0][0][2]
    expected = images[0, ..., 3:] * images[0, ..., :3] + (1 - images[0, ..., 3:])
    np.testing.assert_allclose(first, expected, atol=0.51 / 255)
