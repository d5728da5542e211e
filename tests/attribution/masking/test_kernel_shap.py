"""KernelSHAP: exact where it can be, and what it says where it draws."""

import jax
import numpy as np
import pytest

from jaxinterp.attribution import kernel_shap, shapley
from jaxinterp.perturbation.coalitions import kernel_coalitions
from tests.compiled import compiled
from tests.networks import functions as models

KEY = jax.random.key(3)
LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def test_if_all_coalitions_fit_it_is_exact():
    args = LAYERS, X, TARGET, KEY
    exact = shapley(models.smooth_mlp, baseline=0.2)(*args)
    received = compiled(kernel_shap(models.smooth_mlp, samples=30, baseline=0.2))(*args)
    np.testing.assert_allclose(received, exact, rtol=1e-9)


def test_drawn_it_adds_up_and_comes_near():
    args = LAYERS, X, TARGET, KEY
    exact = np.asarray(shapley(models.mlp)(*args))
    drawn = compiled(kernel_shap(models.mlp, samples=28, batch_size=5))(*args)
    np.testing.assert_allclose(drawn.sum(1), exact.sum(1), rtol=1e-9)
    assert np.abs(drawn - exact).max() < 0.2 * np.abs(exact).max()
    assert np.abs(drawn - exact).max() > 1e-6


def test_of_a_linear_model_any_draws_give_the_terms():
    w, x = models.normal(1, 9, 2), models.normal(2, 3, 9)
    attribute = kernel_shap(lambda w, x: x @ w, samples=60, baseline=0.5)
    received = attribute(w, x, 1, KEY)
    np.testing.assert_allclose(received, (x - 0.5) * w[:, 1], rtol=1e-8, atol=1e-10)


def test_coalitions_are_those_of_the_kernel():
    drawn = np.asarray(kernel_coalitions(KEY, 6, 4000))
    sizes = drawn.sum(1)
    counts = np.bincount(sizes, minlength=7)[1:6] / 4000
    k = np.arange(1, 6)
    expected = 1 / (k * (6 - k))
    np.testing.assert_allclose(counts, expected / expected.sum(), atol=0.02)
    np.testing.assert_array_equal(drawn[0::2], ~drawn[1::2])
    np.testing.assert_allclose(drawn.mean(0), 0.5)


def test_too_few_samples_and_no_key_are_errors():
    with pytest.raises(ValueError, match=r"3 samples do not determine the values of 5"):
        kernel_shap(models.mlp, samples=3)(LAYERS, X, TARGET, KEY)
    with pytest.raises(TypeError, match="key"):
        kernel_shap(models.mlp, samples=30)(LAYERS, X, TARGET)
    with pytest.raises(ValueError, match="samples"):
        kernel_shap(models.mlp, samples=0)
