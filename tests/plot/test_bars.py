"""Bars: which feature has which, and nothing runs off the page."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from jaxinterp.plot import bars

RNG = np.random.default_rng(0)
NAMES = ["mean radius", "age", "a $b_c$", "d", "worst concave points"]
VALUES = np.array([0.5, -3.0, 0.0, 1.0, -0.25])


def drawn(figure):
    """From each name to the length of its bar, from top to bottom."""
    (axes,) = figure.axes
    boxes = [bar.get_window_extent() for bar in axes.patches]
    labels = axes.get_yticklabels()
    tops = [box.y0 for box in boxes]
    assert tops == sorted(tops, reverse=True)
    texts = [label.get_text() for label in labels]
    return dict(zip(texts, (bar.get_width() for bar in axes.patches), strict=True))


def test_each_feature_has_its_bar_in_order():
    figure = bars(NAMES, jnp.asarray(VALUES))
    assert drawn(figure) == dict(zip(NAMES, VALUES, strict=True))
    for bar, value in zip(figure.axes[0].patches, VALUES, strict=True):
        red, _, blue = to_rgb(bar.get_facecolor())
        assert value == 0 or (red > blue) == (value > 0)


def test_the_largest_come_first():
    figure = bars(NAMES, VALUES, largest=3)
    assert list(drawn(figure).items()) == [("age", -3), ("d", 1), ("mean radius", 0.5)]
    assert list(drawn(bars([7, 8], VALUES[:2], largest=9))) == ["8", "7"]


def test_errors_stand_at_the_ends():
    errors = np.array([0.1, 0.2, 0.0, 0.4, 0.5])
    figure = bars(NAMES, VALUES, errors=errors, largest=2, unit="logits")
    (lines,) = figure.axes[0].containers[0].lines[2]
    ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
    np.testing.assert_allclose(ends, [[-3.2, -2.8], [0.6, 1.4]])
    assert figure.axes[0].get_xlabel() == "logits"


@pytest.mark.parametrize("size", [1.0, 5.0])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_nothing_runs_off_the_page_or_into_one_another(count, size, scale):
    figure = bars(NAMES[-count:], scale * VALUES[-count:], size=size, unit="logits")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    renderer = canvas.get_renderer()
    low, high = axes.get_xlim()
    words = [t for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
    for text in (*axes.get_yticklabels(), axes.xaxis.label, *words):
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1
    assert words
    ends = [word.get_window_extent(renderer) for word in words]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["a"]}, "there are 5 features and 1 names"),
        (
            {"relevance": VALUES[None]},
            r"choose an example, `relevance\[0\]`",
        ),
        (
            {"relevance": np.ones((5, 2))},
            r"Add up what each of the 5 names has, `relevance\.sum\(axis=1\)`",
        ),
        ({"relevance": np.ones((5, 2, 3))}, r"`relevance\.sum\(axis=\(1, 2\)\)`"),
        ({"relevance": np.ones((5, 5))}, r"choose an example, `relevance\[0\]`"),
        ({"relevance": np.ones(0)}, r"shape \(0,\)"),
        ({"relevance": [0, 1, np.nan, 0, 0]}, "NaN or infinity, .* at feature 2"),
        ({"errors": VALUES}, "`errors` are 5 numbers of at least 0"),
        ({"errors": VALUES[:2] ** 2}, "`errors` are 5 numbers"),
        ({"largest": 0}, "`largest` must be an integer of at least 1"),
        ({"size": -1}, "`size` is a number of inches"),
    ],
)
def test_what_has_no_bars(change, message):
    arguments = {"names": NAMES, "relevance": VALUES} | change
    with pytest.raises(ValueError, match=message):
        bars(arguments.pop("names"), arguments.pop("relevance"), **arguments)
