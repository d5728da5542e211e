"""Images in a grid: each where it belongs, as it is, and what cannot be drawn."""

import io
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxinterp.plot import false_colors, image_grid

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_image_as_it_is(channels):
    images = RNG.random((5, 6, 9, channels), np.float32)
    figure = image_grid(images, columns=3, titles="abcde")
    assert [axes.get_title() for axes in figure.axes] == list("abcde")
    for axes, image in zip(figure.axes, images, strict=True):
        np.testing.assert_array_equal(
            np.asarray(axes.images[0].get_array()), image.squeeze()
        )
    boxes = [axes.get_position() for axes in figure.axes]
    columns = {round(box.x0, 3) for box in boxes}
    rows = {round(box.y1, 3) for box in boxes}
    assert (len(columns), len(rows)) == (3, 2)
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(9 / 6)


@pytest.mark.parametrize("form", [tuple, np.array, lambda x: np.array(x, object)])
def test_titles_may_be_in_an_array(form):
    titles = ["most", "least"]
    grid = image_grid(np.zeros((2, 4, 4, 3)), titles=form(titles))
    assert [axes.get_title() for axes in grid.axes] == titles


@pytest.mark.parametrize("form", [list, np.array, jnp.array])
def test_titles_may_be_integers(form):
    grid = image_grid(np.zeros((2, 4, 4, 3)), titles=form([7, 3]))
    assert [axes.get_title() for axes in grid.axes] == ["7", "3"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"a": np.zeros((1, 4, 4, 3))}, r"`images\[key\]`; the keys are 'a'"),
        ([np.zeros((4, 4, 3)), np.zeros((5, 5, 3))], r"is list.*\n.*numpy\.stack"),
        (np.zeros((1, 4, 4, 3), complex), r"complex128.*\n.*`images\.real`"),
        (np.array(["a"]), "array of real numbers, and is <U1"),
        (types.SimpleNamespace(images=0), r"Write `images\.images`"),
    ],
)
def test_what_is_no_array_of_numbers_is_said_to_be_none(images, message):
    with pytest.raises(ValueError, match=f"(?s)image_grid: .*{message}"):
        image_grid(images)


def test_nothing_is_drawn_under_jit():
    with pytest.raises(TypeError, match=r"image_grid\(\) draws numbers, .*jit"):
        jax.jit(image_grid)(np.zeros((1, 4, 4, 3)))


def test_a_list_of_images_is_drawn_as_their_array():
    assert len(image_grid([np.zeros((4, 4, 3))] * 3).axes) == 3


def test_of_an_image_that_holds_nan_the_frame_is_drawn():
    images = np.zeros((2, 4, 4, 3)) + np.array([0, np.nan])[:, None, None, None]
    first, second = image_grid(images, titles=["a", "b"]).axes
    assert len(first.images) == 1
    assert not second.images
    assert [text.get_text() for text in second.texts] == ["NaN"]
    assert second.get_title() == "b"


@pytest.mark.parametrize("size", [0.3, 1.2])
def test_long_titles_take_several_lines_and_stay_within_their_image(size):
    images = np.zeros((4, 8, 8, 3))
    titles = ["inception_4a:476: 9.3 x, slope -1.3", "MA_4" * 9, "in\ntwo", "$a_$b$_$"]
    figure = image_grid(images, columns=4, titles=titles, size=size)
    canvas = FigureCanvasAgg(figure)
    for axes in figure.axes:
        title = axes.title.get_window_extent(canvas.get_renderer())
        image = axes.get_window_extent()
        assert title.x0 >= image.x0 - 4
        assert title.x1 <= image.x1 + 4
        assert title.y1 <= figure.bbox.y1
    lines = [axes.get_title() for axes in figure.axes]
    assert "".join(lines[0].split()) == titles[0].replace(" ", "")
    if size == 1.2:
        assert lines[0] == "inception_4a:476: 9.3\nx, slope -1.3"
        assert lines[2:] == titles[2:]
    figure.savefig(io.BytesIO())


def test_what_is_transparent_is_white():
    images = RNG.random((2, 4, 6, 4)).astype(np.float32)
    first = image_grid(images).axes[0].images[0].get_array()
    expected = images[0, ..., 3:] * images[0, ..., :3] + (1 - images[0, ..., 3:])
    np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_false_colors_can_be_drawn():
    (axes,) = image_grid(false_colors(np.ones((1, 4, 4, 7)))).axes
    assert axes.images[0].get_array().shape == (4, 4, 3)


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match=r"images\[\.\.\., :3\].*false_colors\(images"):
        image_grid(np.zeros((2, 4, 4, 7)))
    with pytest.raises(ValueError, match=r"Of one image write `images\[None\]`"):
        image_grid(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"write `images\[None, \.\.\., None\]`"):
        image_grid(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"`numpy\.moveaxis\(images, -3, -1\)`"):
        image_grid(np.zeros((2, 3, 8, 8)))
    with pytest.raises(ValueError, match=r"preprocess\.inverse"):
        image_grid(np.full((2, 4, 4, 3), 255.0))
    with pytest.raises(ValueError, match=r"`columns` must be an integer .* is -1"):
        image_grid(np.zeros((2, 4, 4, 3)), columns=-1)
    with pytest.raises(ValueError, match="`size` is a number of inches, and is -1"):
        image_grid(np.zeros((2, 4, 4, 3)), size=-1)
    with pytest.raises(ValueError, match=r"texts or integers, and one is 1\.5"):
        image_grid(np.zeros((2, 4, 4, 3)), titles=["a", 1.5])
    with pytest.raises(ValueError, match="2 images and 1 titles"):
        image_grid(np.zeros((2, 4, 4, 3)), titles=["a"])
    with pytest.raises(ValueError, match=r"2 images and array\('a'"):
        image_grid(np.zeros((2, 4, 4, 3)), titles=np.array("a"))
