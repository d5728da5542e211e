"""Texts in colors: each token, its color and its number, wherever it is shown."""

import html
import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.plot import heatmap, tokens

RNG = np.random.default_rng(0)
TEXTS = ["This", "is", "<b>", "n\u00e4h", "two\nlines"]
FEATURES = RNG.normal(size=(5, 7))


def spans(page):
    return re.findall(r'<span title="(.*?)" style="(.*?)">(.*?)</span>', page)


@pytest.mark.parametrize("reduction", ["sum", "norm", "largest"])
def test_a_token_has_the_color_of_its_relevance(reduction):
    colored = tokens(TEXTS, jnp.asarray(FEATURES), reduction=reduction)
    expected = heatmap(FEATURES[None, None], reduction=reduction)[0, 0]
    np.testing.assert_allclose(colored.colors, expected, atol=1e-12)
    for (title, style, _), value, color in zip(
        spans(colored.html), colored.relevance, expected, strict=True
    ):
        assert float(title) == pytest.approx(value, rel=1e-2)
        background = re.search(r"rgb\((\d+), (\d+), (\d+)\)", style).groups()
        np.testing.assert_allclose(np.array(background, int), 255 * color, atol=0.5)


def test_letters_can_be_read_on_their_color():
    colored = tokens("abcd", np.array([-1.0, -0.1, 0.1, 1.0]))
    letters = [
        re.search("color: (white|black)", s)[1] for _, s, _ in spans(colored.html)
    ]
    assert letters == ["white", "black", "black", "white"]


def test_html_is_safe_and_ascii_and_what_a_notebook_shows():
    colored = tokens(TEXTS, FEATURES.sum(1))
    assert colored.html.isascii()
    shown = [text for *_, text in spans(colored.html)]
    assert shown == ["This", "is", "&lt;b&gt;", "n&#228;h", "two&#8629;lines"]
    assert colored._repr_html_() == colored.html


def test_long_texts_wrap_and_other_scripts_survive_in_their_direction():
    texts = [
        "\u05e9\u05dc\u05d5\u05dd",
        "\u0639\u0631\u0628\u064a",
        "\U0001f600",
        "x" * 300,
    ]
    page = tokens(texts * 50, np.ones(200)).html
    shown = [html.unescape(text) for *_, text in spans(page)]
    assert shown == texts * 50
    assert 'dir="auto"' in page
    assert "overflow-wrap: anywhere" in page
    assert "</span> <span" in page  # where a line may break


def test_a_figure_has_all_tokens_in_their_colors_within_its_width():
    texts = ["good", "$x$", "n\u00e4h", "two\nlines", "longer"] * 8
    colored = tokens(texts, np.linspace(-1, 1, 40))
    figure = colored.figure(width=3.0)
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.texts][1:4] == [
        "$x$",
        "n\u00e4h",
        "two\u21b5lines",
    ]
    boxes = [label.get_window_extent() for label in figure.texts]
    width, height = figure.get_size_inches() * figure.dpi
    assert all(0 < box.x0 < box.x1 < width for box in boxes)
    assert all(0 < box.y0 < box.y1 < height for box in boxes)
    for before, after in itertools.pairwise(boxes):
        assert after.x0 > before.x1 or after.y1 < before.y0
    for label, color in zip(figure.texts, colored.colors, strict=True):
        patch = label.get_bbox_patch().get_facecolor()
        np.testing.assert_allclose(patch[:3], color, atol=1e-6)
    assert figure.texts[0].get_color() == "white"
    assert figure.texts[20].get_color() == "black"


def test_a_figure_of_what_matplotlib_cannot_draw_is_an_error():
    colored = tokens(["a", "\u05e9\u05dc"], np.ones(2))
    with pytest.raises(ValueError, match=r"right to left.*\n.*`colored\.html`"):
        colored.figure()
    with pytest.raises(ValueError, match="`width`"):
        tokens(["a"], np.ones(1)).figure(width=0.0)


def test_it_prints_as_a_table_with_bars():
    text = str(tokens(["good", "a\nb", "bad"], np.array([1.0, 0.0, -2.0])))
    assert text.splitlines()[2:] == [
        "good          +1  ++++++++++",
        "a\u21b5b           +0",
        "bad           -2  --------------------",
    ]
    assert "+0" in str(tokens("ab", np.zeros(2)))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_text_of_few_tokens_is_no_image(count):
    assert len(tokens("abcd"[:count], np.ones(count)).colors) == count


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("texts", "relevance", "message"),
    [
        (TEXTS, FEATURES[None], r"Of a batch choose a text, `relevance\[0\]`"),
        (TEXTS, np.ones(0), r"has shape \(0,\)"),
        (TEXTS, np.ones(4), "there are 4 numbers and 5 texts"),
        ("This is it", np.ones(3), r"`texts\.split\(\)`"),
        (TEXTS, np.full(5, np.nan), "NaN"),
        (TEXTS, {"a": 1}, r"`relevance\[key\]`"),
    ],
)
def test_what_cannot_be_colored(texts, relevance, message):
    with pytest.raises(ValueError, match=message):
        tokens(texts, relevance)
