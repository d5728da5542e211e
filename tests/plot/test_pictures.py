"""Pictures in grids: each at its place, as it is, and what cannot be drawn."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxinterp.plot import (
    false_colors,
    feature_page,
    feature_sheet,
    picture_grid,
    spritemap,
)

RNG = np.random.default_rng(0)


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def places(figure):
    return [
        (round(a.get_position().x0, 3), round(a.get_position().y1, 3))
        for a in figure.axes
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_picture_as_it_is(channels):
    images = RNG.random((5, 6, 9, channels), np.float32)
    figure = picture_grid(images, columns=3, titles="abcde")
    assert [axes.get_title() for axes in figure.axes] == list("abcde")
    for axes, image in zip(figure.axes, images, strict=True):
        np.testing.assert_array_equal(shown(axes), image.squeeze())
    columns = {x for x, _ in places(figure)}
    rows = {y for _, y in places(figure)}
    assert (len(columns), len(rows)) == (3, 2)
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(9 / 6)


def test_a_sheet_sets_the_examples_beside_the_picture():
    images = RNG.random((3, 8, 8, 3), np.float32)
    examples = RNG.random((3, 4, 5, 5, 3), np.float32)
    figure = feature_sheet(images, examples, names=["a", "b", "c"], columns=2)
    assert len(figure.axes) == 3 * 5
    assert [figure.axes[i].get_title(loc="left") for i in (0, 5, 10)] == ["a", "b", "c"]
    for unit in range(3):
        first, *others = figure.axes[5 * unit : 5 * unit + 5]
        np.testing.assert_array_equal(shown(first), images[unit])
        for axes, example in zip(others, examples[unit], strict=True):
            np.testing.assert_array_equal(shown(axes), example)
            assert axes.get_position().x0 > first.get_position().x1
            assert axes.get_position().y1 <= first.get_position().y1 + 1e-6
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in places(figure))


@pytest.mark.parametrize("form", [tuple, np.array, lambda x: np.array(x, object)])
def test_names_may_be_in_an_array(form):
    names = ["most", "least"]
    images = np.zeros((2, 4, 4, 3))
    grid = picture_grid(images, titles=form(names))
    sheet = feature_sheet(images, images[:, None], names=form(names))
    assert [axes.get_title() for axes in grid.axes] == names
    assert [axes.get_title(loc="left") for axes in sheet.axes[::2]] == names
    page = feature_page(images, names=form(names))
    assert page == feature_page(images, names=names)


def test_of_a_picture_that_is_no_number_the_frame_is_drawn():
    images = np.zeros((2, 4, 4, 3)) + np.array([0, np.nan])[:, None, None, None]
    first, second = picture_grid(images, titles=["a", "b"]).axes
    assert len(first.images) == 1
    assert not second.images
    assert [text.get_text() for text in second.texts] == ["NaN"]
    assert second.get_title() == "b"


def test_false_colors_are_those_of_the_color_wheel():
    images = RNG.random((2, 3, 4, 6), np.float32)
    wheel = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]])
    found = false_colors(images)
    np.testing.assert_allclose(found, images @ wheel / 3, rtol=1e-5)
    np.testing.assert_allclose(false_colors(np.ones((2, 7))), 1, rtol=1e-6)
    colors = RNG.random((5, 3), np.float32)
    np.testing.assert_array_equal(false_colors(colors), colors)
    gray = RNG.random((5, 1), np.float32)
    np.testing.assert_array_equal(false_colors(gray), gray.repeat(3, axis=1))
    picture_grid(false_colors(np.ones((1, 4, 4, 7))))
    with pytest.raises(ValueError, match=r"in \[0, 1\], and are in \[0, 5\]"):
        false_colors(np.array([[0.0, 5.0]]))
    with pytest.raises(ValueError, match="must have channels"):
        false_colors(np.zeros((3, 0)))


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match=r"images\[\.\.\., :3\].*false_colors\(images"):
        picture_grid(np.zeros((2, 4, 4, 7)))
    with pytest.raises(ValueError, match="has shape"):
        picture_grid(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"preprocess\.inverse"):
        picture_grid(np.full((2, 4, 4, 3), 255.0))
    with pytest.raises(ValueError, match=r"`columns` must be an integer .* is -1"):
        picture_grid(np.zeros((2, 4, 4, 3)), columns=-1)
    with pytest.raises(ValueError, match="feature_sheet: `columns` must be an integer"):
        feature_sheet(
            np.zeros((1, 4, 4, 3)), np.zeros((1, 1, 4, 4, 3)), names=["a"], columns=0
        )
    with pytest.raises(ValueError, match="`size` is a number of inches, and is -1"):
        picture_grid(np.zeros((2, 4, 4, 3)), size=-1)
    with pytest.raises(ValueError, match=r"`titles` are texts, and one is 1"):
        picture_grid(np.zeros((2, 4, 4, 3)), titles=["a", 1])
    with pytest.raises(ValueError, match="2 pictures and 1 titles"):
        picture_grid(np.zeros((2, 4, 4, 3)), titles=["a"])
    with pytest.raises(ValueError, match=r"2 pictures and array\('a'"):
        picture_grid(np.zeros((2, 4, 4, 3)), titles=np.array("a"))
    with pytest.raises(ValueError, match=r"feature_sheet: .* 1 pictures and 2 names"):
        feature_sheet(
            np.zeros((1, 4, 4, 3)), np.zeros((1, 1, 4, 4, 3)), names=["a", "b"]
        )
    with pytest.raises(ValueError, match="1 pictures, and examples of 2 units"):
        feature_sheet(np.zeros((1, 4, 4, 3)), np.zeros((2, 1, 4, 4, 3)), names=["a"])
    with pytest.raises(ValueError, match="`examples` must be pictures"):
        feature_sheet(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3)), names=["a"])


@pytest.mark.parametrize("size", [0.3, 1.2])
def test_long_titles_take_several_lines_and_stay_within_their_picture(size):
    images = np.zeros((4, 8, 8, 3))
    titles = ["inception_4a:476: 9.3 x, slope -1.3", "MA_4" * 9, "in\ntwo", "$a_$b$_$"]
    figure = picture_grid(images, columns=4, titles=titles, size=size)
    canvas = FigureCanvasAgg(figure)
    for axes in figure.axes:
        title = axes.title.get_window_extent(canvas.get_renderer())
        picture = axes.get_window_extent()
        assert title.x0 >= picture.x0 - 4
        assert title.x1 <= picture.x1 + 4
        assert title.y1 <= figure.bbox.y1
    shown = [axes.get_title() for axes in figure.axes]
    assert "".join(shown[0].split()) == titles[0].replace(" ", "")
    if size == 1.2:
        assert shown[0] == "inception_4a:476: 9.3\nx, slope -1.3"
        assert shown[2:] == titles[2:]
    figure.savefig(io.BytesIO())


def test_a_spritemap_has_every_picture_at_its_place():
    images = RNG.uniform(size=(5, 4, 6, 3)).astype(np.float32)
    for columns in (None, 1, 2, 7):
        sheet = spritemap(images, columns=columns)
        across = columns or 3
        assert sheet.shape == (-(-5 // across) * 4, across * 6, 3)
        for i in range(sheet.shape[0] // 4 * across):
            r, c = divmod(i, across)
            cell = sheet[r * 4 : (r + 1) * 4, c * 6 : (c + 1) * 6]
            expected = images[i] if i < 5 else np.ones((4, 6, 3))
            np.testing.assert_array_equal(cell, expected)
    with pytest.raises(ValueError, match="spritemap: `columns` must be an integer"):
        spritemap(images, columns=0)


def test_a_sheet_keeps_the_proportions_of_pictures():
    sheet = feature_sheet(
        np.zeros((4, 8, 16, 3)), np.zeros((4, 2, 9, 6, 3)), names="abcd"
    )
    width, height = sheet.get_size_inches()
    shapes = [axes.get_position().size * (width, height) for axes in sheet.axes]
    for i, (wide, tall) in enumerate(shapes):
        ratio = 2 if i % 3 == 0 else 6 / 9
        np.testing.assert_allclose(wide / tall, ratio)
    spans = [axes.get_position().extents for axes in sheet.axes]
    assert all(one.min() >= 0 and one.max() <= 1 for one in spans)


def test_what_is_transparent_is_white():
    images = RNG.random((2, 4, 6, 4)).astype(np.float32)
    colors, opacity = np.split(images.astype(np.float64), [3], axis=-1)
    np.testing.assert_allclose(
        spritemap(images, columns=1),
        (opacity * colors + (1 - opacity)).reshape(8, 6, 3),
        atol=2 * np.finfo(np.float32).eps,  # of sums up to 1, so not of small values
    )
    assert shown(picture_grid(images).axes[0]).shape == (4, 6, 3)
    assert "<img" in feature_page(images, names=["a", "b"])
