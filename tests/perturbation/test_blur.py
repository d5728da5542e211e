"""The Gaussian blur, entry by entry."""

import jax.numpy as jnp
import numpy as np

from jaxinterp.perturbation.blur import blurred
from tests.networks import functions as models


def test_it_is_a_mean_under_a_bell_along_each_axis():
    values = models.normal(3, 2, 4, 5)
    expected = np.zeros_like(values)
    for k, i, j in np.ndindex(2, 4, 5):
        bell = np.exp(
            -((np.arange(4)[:, None] - i) ** 2 + (np.arange(5) - j) ** 2) / 2 / 0.7**2
        )
        expected[k, i, j] = (bell * values[k]).sum() / bell.sum()
    np.testing.assert_allclose(blurred(values, 0.7, (1, 2)), expected, rtol=1e-12)
    np.testing.assert_array_equal(blurred(values, 0.0, (1, 2)), values)


def test_the_dtype_is_kept():
    assert blurred(jnp.ones(3, jnp.float32), 1.0, [0]).dtype == jnp.float32
    np.testing.assert_allclose(blurred(np.ones((3, 2)), 1.0, [0, 1]), 1)
