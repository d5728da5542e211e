"""Colors say the sign, zero is the middle, and channels are reduced as asked."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

from jaxinterp.plot import heatmap, reduce_channels

RNG = np.random.default_rng(0)


def test_channels_are_reduced_as_named() -> None:
    values = RNG.normal(size=(2, 4, 5, 3))
    for b, i, j in np.ndindex(2, 4, 5):
        pixel = [float(v) for v in values[b, i, j]]
        expected = {
            "sum": pixel[0] + pixel[1] + pixel[2],
            "norm": (pixel[0] ** 2 + pixel[1] ** 2 + pixel[2] ** 2) ** 0.5,
            "largest": max(pixel, key=abs),
        }
        for reduction, number in expected.items():
            assert reduce_channels(values, reduction)[b, i, j] == pytest.approx(
                number, abs=1e-12
            )


def test_images_without_channels_stay_as_they_are() -> None:
    for shape in ((2, 4, 5), (1, 4, 3), (3, 1, 4)):
        values = RNG.normal(size=shape)
        np.testing.assert_array_equal(reduce_channels(values), values)
    np.testing.assert_array_equal(heatmap(values), heatmap(values[..., None]))


def test_zero_is_the_middle_of_the_color_map() -> None:
    middle = matplotlib.colormaps["RdBu_r"].resampled(257)(128)[:3]
    colors = heatmap(np.array([[[0.0, 5.0, -1.0]]]))
    np.testing.assert_array_equal(colors[0, 0, 0], middle)
    np.testing.assert_array_equal(heatmap(np.zeros((1, 2, 2)))[0, 1, 1], middle)


def test_the_range_is_symmetric_and_of_each_image() -> None:
    values = RNG.normal(size=(3, 6, 6))
    scaled = values * np.array([1.0, 100.0, 1e-6])[:, None, None]
    np.testing.assert_array_equal(heatmap(values), heatmap(scaled))
    ends = matplotlib.colormaps["RdBu_r"].resampled(257)
    two = heatmap(np.array([[[4.0, -4.0, 2.0]]]))[0, 0]
    np.testing.assert_array_equal(two[0], ends(256)[:3])
    np.testing.assert_array_equal(two[1], ends(0)[:3])
    assert not np.array_equal(two[2], two[0])


def test_a_percentile_keeps_one_pixel_from_washing_out_the_rest() -> None:
    values = np.full((1, 10, 10), 1.0)
    values[0, 0, 0] = 1000.0
    full, clipped = heatmap(values), heatmap(values, percentile=95.0)
    assert not np.array_equal(full[0, 0, 0], full[0, 5, 5])
    np.testing.assert_array_equal(clipped[0, 0, 0], clipped[0, 5, 5])


def test_a_map_with_a_single_pixel_is_not_divided_by_zero() -> None:
    values = np.zeros((1, 10, 10))
    values[0, 3, 4] = 7.0
    colors = heatmap(values, percentile=50.0)
    assert not np.array_equal(colors[0, 3, 4], colors[0, 0, 0])


def test_low_precision_and_jax_arrays_have_colors_too() -> None:
    assert heatmap(jnp.ones((1, 2, 2, 3), jnp.bfloat16)).shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((4, 5)), {}, r"attributions\[None\]"),
        (np.ones((1, 2, 2)), {"percentile": 0.0}, "above 0 and at most 100"),
        (np.full((1, 2, 2), np.nan), {}, "(?s)example 0 hold NaN.*a target that is"),
        (np.ones((1, 2, 2)), {"percentile": np.nan}, "and is nan"),
        (np.ones((28, 28, 1)), {}, r"(?s)attributions\[None\].*28 x 1 pixels"),
        (np.ones((28, 28, 3)), {}, r"attributions\[\.\.\., None\]"),
        (np.ones((0, 28, 28)), {}, r"shape \(0, 28, 28\)"),
        ({"at": np.ones((1, 2, 2))}, {}, r"`attributions\[key\]`; the keys are 'at'"),
    ],
)
def test_what_has_no_colors_is_an_error(values, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        heatmap(values, **options)


def test_an_unknown_reduction_is_an_error() -> None:
    # A `TypeError` where annotations are checked at run time, as in these tests.
    with pytest.raises((ValueError, TypeError), match="reduction"):
        heatmap(np.ones((1, 2, 2)), reduction="max")
