"""Sheets of units: the examples stand beside the image, in their proportions."""

import numpy as np
import pytest

from jaxinterp.plot import feature_sheet

RNG = np.random.default_rng(0)


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def test_a_sheet_sets_the_examples_beside_the_image():
    images = RNG.random((3, 8, 8, 3), np.float32)
    examples = RNG.random((3, 4, 5, 5, 3), np.float32)
    figure = feature_sheet(images, examples, names=["a", "b", "c"], columns=2)
    assert len(figure.axes) == 3 * 5
    assert [figure.axes[i].get_title(loc="left") for i in (0, 5, 10)] == ["a", "b", "c"]
    for unit in range(3):
        first, *others = figure.axes[5 * unit : 5 * unit + 5]
        np.testing.assert_array_equal(pixels(first), images[unit])
        for axes, example in zip(others, examples[unit], strict=True):
            np.testing.assert_array_equal(pixels(axes), example)
            assert axes.get_position().x0 > first.get_position().x1
            assert axes.get_position().y1 <= first.get_position().y1 + 1e-6
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 <= 1 and 0 <= box.y1 <= 1 for box in boxes)


@pytest.mark.parametrize("form", [tuple, np.array, lambda x: np.array(x, object)])
def test_names_may_be_in_an_array(form):
    names = ["most", "least"]
    images = np.zeros((2, 4, 4, 3))
    sheet = feature_sheet(images, images[:, None], names=form(names))
    assert [axes.get_title(loc="left") for axes in sheet.axes[::2]] == names


def test_a_sheet_keeps_the_proportions_of_images():
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


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="feature_sheet: `columns` must be an integer"):
        feature_sheet(
            np.zeros((1, 4, 4, 3)), np.zeros((1, 1, 4, 4, 3)), names=["a"], columns=0
        )
    with pytest.raises(ValueError, match=r"feature_sheet: .* 1 images and 2 names"):
        feature_sheet(
            np.zeros((1, 4, 4, 3)), np.zeros((1, 1, 4, 4, 3)), names=["a", "b"]
        )
    with pytest.raises(ValueError, match="1 images, and examples of 2 units"):
        feature_sheet(np.zeros((1, 4, 4, 3)), np.zeros((2, 1, 4, 4, 3)), names=["a"])
    with pytest.raises(ValueError, match="`examples` must be images"):
        feature_sheet(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3)), names=["a"])
