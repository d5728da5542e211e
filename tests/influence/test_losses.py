"""Losses of single examples."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.influence.losses import cross_entropy, squared_error
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
Z, LABELS = jnp.asarray(RNG.normal(size=(5, 3))), RNG.integers(3, size=5)


def test_they_are_the_definitions() -> None:
    expected = [
        oracle.cross_entropy(np.eye(3), np.asarray(z), y)
        for z, y in zip(Z, LABELS, strict=True)
    ]
    np.testing.assert_allclose(cross_entropy(Z, LABELS), expected)
    found = squared_error(Z, Z[::-1])
    np.testing.assert_allclose(found, 0.5 * ((Z - Z[::-1]) ** 2).sum(axis=1))
    np.testing.assert_array_equal(squared_error(Z[:, 0], Z[:, 0]), np.zeros(5))


def test_half_precision_is_computed_in_single() -> None:
    half = jnp.asarray(Z, jnp.bfloat16)
    for found in (cross_entropy(half, LABELS), squared_error(half, half)):
        assert found.dtype == jnp.float32


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"returns \(5, 3\), and the labels have \(5,"):
        squared_error(Z, Z[:, :1])
    with pytest.raises(ValueError, match="target"):
        cross_entropy(Z, None)
    with pytest.raises(TypeError, match="integer"):
        cross_entropy(Z, Z[:, 0])


def test_a_model_that_returns_several_arrays_is_told_so(unchecked: None) -> None:
    with pytest.raises(TypeError, match="and returned tuple"):
        squared_error((Z, Z), Z)
    with pytest.raises(ValueError, match="Say which of them is explained"):
        cross_entropy((Z, Z), LABELS)  # pyright: ignore[reportArgumentType]  what is tested


def test_of_no_example_there_is_no_loss() -> None:
    assert squared_error(Z[:0], Z[:0]).shape == (0,)
    with pytest.raises(ValueError, match="one row for each example"):
        squared_error(Z[0, 0], Z[0, 0])
