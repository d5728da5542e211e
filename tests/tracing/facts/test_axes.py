"""Which axes of an affine map its factors may follow."""

import jax.numpy as jnp
import pytest

from tests.tracing.arrays import normal, roles

X, W = normal(4, 5), normal(5, 6)


@pytest.mark.parametrize(
    ("shape", "factor", "found"),
    [
        ((4, 2, 3), (1, 2, 3), ["dense"]),
        ((4, 2, 1, 3), (1, 2, 1, 3), ["dense"]),
        ((1, 4, 6), (1, 1, 6), ["dense"]),
        ((2, 2, 6), (2, 1, 1), ["dense", "scale"]),
        ((4, 1, 6), (4, 1, 1), ["dense", "scale"]),
        ((2, 1, 2, 6), (1, 1, 2, 6), ["dense", "scale"]),
        ((8, 3), (8, 3), ["dense", "scale"]),
    ],
)
def test_a_factor_of_features_belongs_to_the_kernel_and_one_of_examples_does_not(
    shape, factor, found
):
    def model(v, x):
        return (x @ v["w"]).reshape(shape) * v["factor"]

    assert roles(model, {"w": W, "factor": jnp.ones(factor) + 1}, X) == found
