"""The gallery: what stands where, and what it refuses."""

import itertools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxinterp.plot import gallery, heatmap

RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(size=(2, 6, 8, 1))
MAPS = {"one": RNG.normal(size=(2, 6, 8, 1)), "two": RNG.normal(size=(2, 6, 8, 1))}


def grid(figure) -> np.ndarray:
    """The axes of images, without the color bar."""
    return np.array(figure.axes[:-1]).reshape(2, -1)


def test_inputs_are_in_rows_and_methods_in_columns() -> None:
    axes = grid(gallery(INPUTS, MAPS, labels=["a", "b"]))
    assert [a.get_title() for a in axes[0]] == ["input", "one", "two"]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["a", "b"]
    for column, name in enumerate(MAPS, start=1):
        for row in range(2):
            pixels = axes[row, column].images[0].get_array()
            np.testing.assert_allclose(pixels, heatmap(MAPS[name])[row], atol=1e-12)


def test_pixels_are_not_interpolated() -> None:
    for axes in gallery(INPUTS, MAPS).axes[:-1]:
        assert axes.images[0].get_interpolation() == "nearest"


def test_inputs_run_from_black_to_white() -> None:
    pixels = np.stack([a[0].images[0].get_array() for a in grid(gallery(INPUTS, MAPS))])
    assert pixels.min() == pytest.approx(0.0)
    assert pixels.max() == pytest.approx(1.0)


def test_color_images_keep_their_colors() -> None:
    inputs = RNG.uniform(size=(1, 4, 4, 3)) * 255
    figure = gallery(inputs, {"one": RNG.normal(size=(1, 4, 4, 3))})
    low, high = inputs.min(), inputs.max()
    pixels = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(pixels, (inputs[0] - low) / (high - low), atol=1e-12)


def test_a_figure_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "gallery.png"
    gallery(INPUTS, MAPS).savefig(path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("inputs", "maps", "labels", "message"),
    [
        (np.ones((2, 8)), MAPS, None, "`inputs` must be a batch of images"),
        (np.ones((28, 28, 1)), MAPS, None, r"Of a single image write `inputs\[None\]`"),
        (np.ones((2, 3, 8, 8)), MAPS, None, r"moveaxis\(inputs, -3, -1\)"),
        (np.ones((2, 6, 8, 5)), MAPS, None, "one channel or three"),
        (np.ones((0, 6, 8)), MAPS, None, "`inputs` must be a batch of images"),
        (INPUTS, {}, None, "`attributions` is empty"),
        (INPUTS, {"one": np.ones((3, 6, 8, 1))}, None, "attributions of 'one'"),
        (INPUTS, {"one": np.ones((2, 8, 6, 1))}, None, "2 images of 6 x 8 pixels"),
        (INPUTS, MAPS, ["a"], "2 images and 1 labels"),
        (INPUTS, MAPS, [0.5, 1.5], "`labels` are texts or integers, and one is 0.5"),
        (INPUTS, {"one": "maps"}, None, r"`attributions\['one'\]` must be an array"),
        (INPUTS, np.ones((2, 8, 6, 1)), None, "2 images of 6 x 8 pixels"),
    ],
)
def test_what_cannot_be_pixels_is_an_error(inputs, maps, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        gallery(inputs, maps, labels=labels)


def test_names_do_not_run_into_one_another_or_off_the_page():
    images = np.zeros((2, 8, 8))
    names = ["LRP epsilon alpha2 beta1 flat", "LRP excitation backprop"]
    names += ["epsilon alpha2 beta1 flat", "epsilon gamma box"]
    maps = {name: np.ones((2, 8, 8)) for name in names}
    figure = gallery(images, maps, labels=["Siberian husky\nread as 249", "tench"])
    FigureCanvasAgg(figure).draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes[: len(maps) + 1]]
    assert all(a.x1 + 5 < b.x0 for a, b in itertools.pairwise(boxes))
    assert all(box.y1 <= figure.bbox.y1 for box in boxes)
    assert figure.axes[0].yaxis.label.get_window_extent().x0 >= 0
    assert figure.axes[1].get_title().split() == names[0].split()


@pytest.mark.usefixtures("unchecked")
def test_a_list_of_attributions_needs_names():
    with pytest.raises(ValueError, match=r"dict\(zip\(names, attributions\)\)"):
        gallery(INPUTS, list(MAPS.values()))


def test_one_method_needs_no_name_and_labels_may_be_classes():
    figure = gallery(INPUTS, jnp.asarray(MAPS["one"]), labels=jnp.array([7, 3]))
    axes = grid(figure)
    assert [a.get_title() for a in axes[0]] == ["input", "attributions"]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["7", "3"]


@pytest.mark.parametrize("size", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_words_of_the_scale_stay_on_the_page_and_apart(count, size):
    maps = {str(i): MAPS["one"] for i in range(count)}
    figure = gallery(INPUTS, maps, size=size)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    words = figure.axes[-1].get_xticklabels()
    boxes = [word.get_window_extent(canvas.get_renderer()) for word in words]
    assert [word.get_text() for word in words] == ["lowers the score", "0", "raises it"]
    assert figure.bbox.x0 <= boxes[0].x0
    assert boxes[-1].x1 <= figure.bbox.x1
    assert all(a.x1 + 2 < b.x0 for a, b in itertools.pairwise(boxes))
    first, *_, last = figure.axes[: count + 1]
    widths = [a.get_window_extent().width for a in (first, last)]
    assert widths == pytest.approx(2 * [widths[0]])
    assert first.get_window_extent().x0 >= 0
