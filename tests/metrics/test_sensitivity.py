"""How far an attribution moves, where the farthest is known."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import gradient, input_x_gradient, smooth
from jaxinterp.metrics import sensitivity
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models

KEY = jax.random.key(0)
WEIGHTS = np.random.default_rng(0).normal(size=(1, 6))
X = np.random.default_rng(1).normal(size=(4, 6))
LAYERS, VECTORS, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def linear(w, x):
    return w * x


def measured(method, weights, x, target=None, key=KEY, **options):
    def both(weights, x, target, key):
        attributions = method(weights, x, target, key)
        return sensitivity(method, **options)(weights, x, attributions, target, key)

    return compiled(both)(weights, x, target, key)


def test_the_gradient_of_a_linear_model_does_not_move():
    for options in ({}, {"steps": 3}, {"reduction": "mean"}):
        method = gradient(linear, score=total)
        assert (measured(method, WEIGHTS, X, **options) == 0).all()


def test_input_times_gradient_moves_as_far_as_the_cube_is_wide():
    """a(x + d) - a(x) = w d, which is longest in a corner: r |w|."""
    method = input_x_gradient(linear, score=total)
    farthest = 0.3 * np.linalg.norm(WEIGHTS)
    options = {"radius": 0.3, "is_relative": False}
    climbed = measured(method, WEIGHTS, X, samples=1, steps=4, **options)
    np.testing.assert_allclose(climbed, farthest, rtol=1e-12)
    drawn = measured(method, WEIGHTS, X, samples=50, **options)
    assert (drawn < farthest).all()
    assert (drawn > 0.5 * farthest).all()
    # The mean square of a uniform number in [-r, r] is r^2 / 3.
    mean = measured(method, WEIGHTS, X, samples=400, reduction="mean", **options)
    assert (np.abs(mean / (farthest / 3**0.5) - 1) < 0.1).all()


def test_it_is_relative_to_the_norm_of_the_attribution():
    method = input_x_gradient(linear, score=total)
    size = np.linalg.norm(WEIGHTS * X, axis=1)
    absolute = measured(method, WEIGHTS, X, is_relative=False)
    np.testing.assert_allclose(
        measured(method, WEIGHTS, X), absolute / size, rtol=1e-12
    )
    nothing = measured(method, WEIGHTS, np.zeros_like(X))
    assert np.isnan(nothing).all()
    assert (measured(method, WEIGHTS, 0 * X, is_relative=False) > 0).all()


def test_each_draw_is_what_it_says():
    """The largest and the mean of as many changes, each measured on its own."""
    method = gradient(models.smooth_mlp)
    values = [
        measured(method, LAYERS, VECTORS, TARGET, samples=n, reduction=r)
        for n, r in [(1, "max"), (2, "max"), (2, "mean")]
    ]
    second = 2 * values[2] - values[0]
    np.testing.assert_allclose(values[1], np.maximum(values[0], second), rtol=1e-9)


def test_a_climb_never_ends_below_its_start():
    method = gradient(models.smooth_mlp)
    options = {"samples": 3, "radius": 0.2}
    drawn = measured(method, LAYERS, VECTORS, TARGET, **options)
    climbed = measured(method, LAYERS, VECTORS, TARGET, steps=8, **options)
    assert (climbed > 1.05 * drawn).all()


def test_the_gradient_of_a_piecewise_linear_network_does_not_climb():
    method = gradient(models.mlp)
    drawn = measured(method, LAYERS, VECTORS, TARGET, radius=0.5)
    climbed = measured(method, LAYERS, VECTORS, TARGET, radius=0.5, steps=2)
    np.testing.assert_array_equal(climbed, drawn)
    assert drawn.max() > 0


def test_the_noise_of_a_method_is_no_part_of_the_difference():
    method = smooth(gradient(linear, score=total), samples=2)
    assert (measured(method, WEIGHTS, X) == 0).all()
    noisy = smooth(gradient(models.smooth_mlp), samples=2, noise_level=0.5)
    still = measured(noisy, LAYERS, VECTORS, TARGET, radius=1e-6)
    assert (still < 1e-4).all()
    others = compiled(noisy)(LAYERS, VECTORS, TARGET, jax.random.key(9))
    measure = compiled(sensitivity(noisy, radius=1e-6))
    other = measure(LAYERS, VECTORS, others, TARGET, KEY)
    assert (other > 1e-3).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1.0}, "`radius` must be a finite number of at least 0"),
        ({"samples": 0}, "`samples` must be an integer of at least 1"),
        ({"steps": -1}, "`steps` must be an integer of at least 0"),
        ({"reduction": "sum"}, "`reduction` is 'sum'. There are: 'max', 'mean'"),
        ({"reduction": "mean", "steps": 2}, "and a climb is none"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
    ],
)
def test_options_that_make_no_sense_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sensitivity(gradient(linear), **options)


def test_what_cannot_be_measured_is_an_error():
    method = gradient(linear, score=total)
    attributions = method(WEIGHTS, X)
    with pytest.raises(TypeError, match=r"sensitivity\(\) is random and needs one key"):
        sensitivity(method)(WEIGHTS, X, attributions)
    with pytest.raises(TypeError, match="only real numbers have a gradient"):
        sensitivity(method)(WEIGHTS, X.astype(int), attributions, key=KEY)
    with pytest.raises(ValueError, match=r"has shape \(4, 3\), and what `attribution_"):
        sensitivity(method)(WEIGHTS, X, attributions[:, :3], key=KEY)
    with pytest.raises(ValueError, match="has the structure"):
        sensitivity(method)(WEIGHTS, X, {"a": jnp.asarray(attributions)}, key=KEY)


def test_a_method_is_a_function():
    with pytest.raises(TypeError, match="`attribution_fn` must be a function"):
        sensitivity("gradient")
