"""Stimuli pixel by pixel, and tuning curves of filters whose tuning is known."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.responses.stimuli import (
    Ground,
    bars,
    blobs,
    checkerboards,
    corners,
    dots,
    gratings,
)
from jaxinterp.featurevis.responses.tuning_curve import tuning_curve
from jaxinterp.objectives.unit import channel
from tests.few import few

SHAPE = (7, 10, 3)


def pixels(shape: tuple[int, ...]) -> Any:
    """Yields row, column, x and y of each pixel."""
    for row, column in np.ndindex(*shape[:2]):
        yield row, column, column - (shape[1] - 1) / 2, row - (shape[0] - 1) / 2


@pytest.mark.parametrize("width", [math.inf, 2.0])
def test_a_grating_is_its_formula(width: float) -> None:
    found = gratings(
        Ground(SHAPE, dtype=jnp.float64), 0.4, 0.2, 1.1, contrast=0.7, width=width
    )
    assert found.shape == SHAPE
    for row, column, x, y in pixels(SHAPE):
        across = x * math.cos(0.4) + y * math.sin(0.4)
        window = math.exp(-(x * x + y * y) / (2 * width**2))
        wave = math.cos(2 * math.pi * 0.2 * across + 1.1)
        expected = 0.5 + 0.35 * window * wave
        np.testing.assert_allclose(found[row, column], expected, rtol=1e-12)


def test_waves_and_boards_go_from_the_color_to_as_far_beyond_the_background() -> None:
    ground = Ground((2, 4, 3), color=(0.9, 0.5, 0.1), background=(0.5, 0.5, 0.25))
    color, beyond = np.array([0.9, 0.5, 0.1]), np.array([0.1, 0.5, 0.4])
    wave = gratings(ground, 0.0, 0.5, -math.pi / 2)
    board = checkerboards(ground, 1, contrast=0.5)
    gray = np.array([0.5, 0.5, 0.25])
    np.testing.assert_allclose(wave[0, 0], color, atol=1e-6)
    np.testing.assert_allclose(wave[0, 1], beyond, atol=1e-6)
    np.testing.assert_allclose(board[0, 0], (gray + color) / 2, atol=1e-6)
    np.testing.assert_allclose(board[0, 1], (gray + beyond) / 2, atol=1e-6)


def test_stripes_stand_upright_at_zero() -> None:
    found = np.asarray(gratings(Ground(SHAPE), 0.0, 0.1))
    assert np.ptp(found, axis=0).max() < 1e-6
    assert np.ptp(found, axis=1).min() > 0.5


def test_parameters_broadcast_against_one_another() -> None:
    angles, frequencies = np.array([[0.0], [1.0]]), np.array([0.1, 0.2, 0.3])
    found = gratings(Ground(SHAPE), angles, frequencies)
    assert found.shape == (2, 3, *SHAPE)
    one = gratings(Ground(SHAPE), 1.0, 0.2)
    np.testing.assert_allclose(found[1, 1], one, atol=1e-6)


def share_by_sampling(is_inside: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The share of each pixel inside of a form, by trying 20 x 20 points of each."""
    result = np.zeros(shape[:2])
    steps = (np.arange(20) + 0.5) / 20 - 0.5
    for row, column, x, y in pixels(shape):
        u, v = np.meshgrid(x + steps, y + steps)
        result[row, column] = is_inside(u, v).mean()
    return result


def is_in_corner(u: Any, v: Any, turn: float, angle: float, radius: float) -> Any:
    """Whether points lie between two rays, or the circle that touches both."""
    length, direction = np.hypot(u, v), np.arctan2(v, u) - turn
    direction = np.abs((direction + math.pi) % (2 * math.pi) - math.pi)
    is_between = direction <= angle / 2
    to_middle = radius / math.sin(angle / 2)
    along, across = length * np.cos(direction), length * np.sin(direction)
    is_past = along > to_middle - across * math.tan(angle / 2)
    is_in_circle = np.hypot(along - to_middle, across) <= radius
    return is_between & (is_past | is_in_circle)


def test_forms_cover_the_pixels_that_they_should() -> None:
    shape = (15, 18, 1)
    drawn = {
        "disc": (
            dots(Ground(shape, background=0.0), 1.3, -2.0, 4.2),
            lambda u, v: np.hypot(u - 1.3, v + 2.0) <= 4.2,
        ),
        "bar": (
            bars(Ground(shape, background=0.0), 0.5, 4.0, 9.0, x=0.6, y=1.0),
            lambda u, v: (
                (abs((u - 0.6) * math.cos(0.5) + (v - 1) * math.sin(0.5)) <= 2)
                & (abs((v - 1) * math.cos(0.5) - (u - 0.6) * math.sin(0.5)) <= 4.5)
            ),
        ),
        "corner": (
            corners(Ground(shape, background=0.0), 0.5, 1.2, 2.5, x=-3.0, y=1.0),
            lambda u, v: is_in_corner(u + 3.0, v - 1.0, 0.5, 1.2, 2.5),
        ),
        "sharp corner": (
            corners(Ground(shape, background=0.0), 4.0, 2.0),
            lambda u, v: is_in_corner(u, v, 4.0, 2.0, 0.0),
        ),
        "board": (
            checkerboards(Ground(shape), 4.0, 0.3),
            lambda u, v: (
                (
                    np.floor((u * math.cos(0.3) + v * math.sin(0.3)) / 4)
                    + np.floor((v * math.cos(0.3) - u * math.sin(0.3)) / 4)
                )
                % 2
                == 1
            ),
        ),
    }
    for name, (found, is_inside) in drawn.items():
        expected = share_by_sampling(is_inside, shape)
        error = np.abs(np.asarray(found)[..., 0] - expected)
        # Exact away from the edges; at one, to what a straight edge leaves uncertain.
        assert error[(expected == 0) | (expected == 1)].max() < 0.15, name
        assert error.max() < 0.3, name
        assert error.mean() < 0.02, name


@pytest.mark.slow(reason="draws five corners")
def test_a_corner_of_two_right_angles_is_an_edge_whatever_its_radius() -> None:
    for radius in (0.0, 3.0):
        found = corners(Ground((5, 6, 1), background=0.0), 0.0, math.pi, radius)
        np.testing.assert_allclose(found[:, :3], 0, atol=1e-6)
        np.testing.assert_allclose(found[:, 3:], 1, atol=1e-6)
    slope = jax.grad(lambda x: corners(Ground((5, 5, 1)), 0.3, x=x).sum())(0.0)
    assert -10 < slope < -0.5


def test_a_bar_along_an_axis_is_exact() -> None:
    found = np.asarray(bars(Ground((4, 5, 1), background=0.0), 0.0, 3.0, 2.0))[..., 0]
    expected = np.zeros((4, 5))
    expected[1:3, 1:4] = 1
    assert np.array_equal(found, expected)
    across = np.asarray(bars(Ground((5, 4, 1), background=0.0), math.pi / 2, 1.0))
    np.testing.assert_allclose(across[2], 1, atol=1e-6)
    np.testing.assert_allclose(across[[0, 1, 3, 4]], 0, atol=1e-6)


def test_a_blob_is_its_formula() -> None:
    found = blobs(Ground(SHAPE, color=(1.0, 0.5, 0.0), background=0.5), 1.0, -0.5, 2.0)
    for row, column, x, y in pixels(SHAPE):
        share = math.exp(-((x - 1) ** 2 + (y + 0.5) ** 2) / 8)
        expected = [0.5 + 0.5 * share, 0.5, 0.5 - 0.5 * share]
        np.testing.assert_allclose(found[row, column], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    few(
        [
            ((4, 9, 7), jnp.bfloat16),
            ((1, 1, 1), jnp.float32),
            ((1, 1, 1), jnp.bfloat16),
            ((4, 9, 7), jnp.float32),
        ],
        1,
        reason="another such pair",
    ),
)
def test_all_are_pictures_between_zero_and_one(
    shape: tuple[int, int, int], dtype: Any
) -> None:
    angle = jnp.linspace(0, 3, 4)
    for found in (
        gratings(Ground(shape, dtype=dtype), angle, 0.3),
        dots(Ground(shape, dtype=dtype), angle, 0, 2),
        blobs(Ground(shape, dtype=dtype), angle, 0, 2),
        bars(Ground(shape, dtype=dtype), angle, 2),
        checkerboards(Ground(shape, dtype=dtype), 2, angle),
        corners(Ground(shape, dtype=dtype), angle, 1.0, 2.0),
    ):
        assert found.shape == (4, *shape)
        assert found.dtype == dtype
        assert bool(jnp.all((found >= 0) & (found <= 1)))


def test_pictures_that_cannot_be_drawn() -> None:
    for angle in (0.0, -1.0, np.array([1.0, 2 * math.pi])):
        with pytest.raises(ValueError, match="angle of a corner lies between 0 and pi"):
            corners(Ground(SHAPE), 0.0, angle)
    with pytest.raises(ValueError, match="its radius is not negative"):
        corners(Ground(SHAPE), 0.0, 1.0, -3.0)
    with pytest.raises(ValueError, match=r"\(height, width, channels\), and is \(0,"):
        gratings(Ground((0, 4, 3)), 0.0, 0.1)
    with pytest.raises(ValueError, match=r"each of the 3 channels, and .* \(2,\)"):
        dots(Ground(SHAPE, color=(1.0, 0.0)), 0, 0, 1)


# --- Tuning curves --------------------------------------------------------------------

ANGLES = np.arange(8) * math.pi / 8
FREQUENCIES = np.array([0.12, 0.2, 0.3])
PHASES = np.arange(4) * math.pi / 2


def gabor_filters() -> np.ndarray:
    """One filter for each orientation and frequency, `(15, 15, 1, 24)`."""
    filters = []
    for angle in ANGLES:
        for frequency in FREQUENCIES:
            kernel = np.zeros((15, 15))
            for row, column, x, y in pixels((15, 15)):
                across = x * math.cos(angle) + y * math.sin(angle)
                window = math.exp(-(x * x + y * y) / 18)
                kernel[row, column] = window * math.cos(
                    2 * math.pi * frequency * across
                )
            filters.append(kernel - kernel.mean())
    return np.stack(filters, axis=-1)[:, :, None]


def test_a_gabor_filter_prefers_its_own_grating() -> None:
    w = gabor_filters()

    def model(w: Any, x: Any) -> Any:
        x = jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.maximum(x, 0)

    stimuli = gratings(
        Ground((24, 24, 1), dtype=jnp.float64),
        ANGLES[:, None, None],
        FREQUENCIES[:, None],
        PHASES,
    )
    curves = tuning_curve(model, "relu:*", w, stimuli, axes=3, batch_size=25)
    assert curves.shape == (24, 8, 3, 4)
    for unit, curve in enumerate(np.asarray(curves).max(axis=-1)):
        best = np.unravel_index(curve.argmax(), curve.shape)
        assert best == (unit // 3, unit % 3)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
def test_a_curve_is_a_table_of_scores(batch_size: int | None) -> None:
    stimuli = np.random.default_rng(0).normal(size=(2, 5, 4, 4, 3))
    w = np.random.default_rng(1).normal(size=(3, 6))
    found = tuning_curve(
        lambda w, x: jnp.tanh(2 * x @ w),
        channel("tanh"),
        w,
        stimuli,
        axes=2,
        batch_size=batch_size,
    )
    expected = np.tanh(2 * stimuli @ w).mean(axis=(2, 3))
    np.testing.assert_allclose(found, np.moveaxis(expected, -1, 0), rtol=1e-12)


def test_one_stimulus_needs_no_axis() -> None:
    found = tuning_curve(
        lambda w, x: jnp.tanh(w * x), "tanh:*", 1.0, jnp.ones((2, 2, 3)), axes=0
    )
    assert found.shape == (3,)


def test_curves_that_cannot_be_drawn() -> None:
    stimuli = jnp.ones((2, 4, 4, 3))
    model = lambda w, x: jnp.tanh(w * x)  # noqa: E731
    with pytest.raises(ValueError, match=r"has 4 axes .* \(2, 4, 4, 3\)"):
        tuning_curve(model, "tanh:*", 1.0, stimuli, axes=4)
    with pytest.raises(ValueError, match=r"its shape is \(0, 4"):
        tuning_curve(model, "tanh:*", 1.0, stimuli[:0])
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        tuning_curve(model, "tanh:*", 1.0, stimuli, batch_size=0)


@pytest.mark.parametrize(
    "draw",
    [
        lambda **o: fv.gratings(fv.Ground((64, 64, 1), **o), 0.3, 0.11),
        lambda **o: fv.checkerboards(fv.Ground((40, 400, 1), **o), 3),
        lambda **o: fv.dots(fv.Ground((9, 300, 1), **o), 100.3, 0.0, 5.0),
    ],
)
def test_half_precision_rounds_only_the_picture(draw):
    half, single = draw(dtype=jnp.bfloat16), draw(dtype=jnp.float32)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), single, atol=2**-8)


def test_curves_under_transformations():
    stimuli = gratings(Ground((6, 6, 1)), jnp.linspace(0, 3, 4), 0.25)

    def curves(w):
        return tuning_curve(lambda w, x: jnp.tanh(w * x), "tanh:*", w, stimuli)

    np.testing.assert_allclose(jax.jit(curves)(1.5), curves(1.5), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda w: curves(w).sum())(1.5))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shape": 8}, ValueError, r"Ground: `shape` .* is 8"),
        ({"shape": (8.0, 8, 1)}, ValueError, "Ground: `shape`"),
        ({"color": "red"}, ValueError, "Ground: `color` must lie .* is 'red'"),
        ({"color": 255}, ValueError, "Ground: `color` must lie .* is 255"),
        ({"background": float("nan")}, ValueError, "Ground: `background`"),
        ({"dtype": jnp.uint8}, TypeError, "Ground: `dtype` is one of floats"),
    ],
)
def test_a_ground_is_one(options, error, message, unchecked):
    with pytest.raises(error, match=message):
        fv.Ground(**({"shape": (8, 8, 1)} | options))
