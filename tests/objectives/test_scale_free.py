"""The score that knows no scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.objectives import difference_of_logits_ratio
from tests.oracles import attacks

OUTPUTS = np.random.default_rng(0).normal(size=(6, 5))
TARGET = np.array([0, 1, 2, 3, 4, 0])


def test_it_is_minus_the_loss_of_the_paper():
    values = difference_of_logits_ratio(jnp.asarray(OUTPUTS), TARGET)
    expected = [-attacks.dlr(z, y) for z, y in zip(OUTPUTS, TARGET, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_neither_scale_nor_shift_change_it():
    plain = difference_of_logits_ratio(jnp.asarray(OUTPUTS), TARGET)
    moved = difference_of_logits_ratio(1000 * jnp.asarray(OUTPUTS) + 7, TARGET)
    np.testing.assert_allclose(moved, plain, rtol=1e-9)
    best = difference_of_logits_ratio(jnp.asarray(OUTPUTS), OUTPUTS.argmax(axis=1))
    assert ((np.asarray(best) >= 0) & (np.asarray(best) <= 1)).all()


def test_equal_outputs_give_0_and_a_finite_slope():
    z = jnp.ones((1, 4))
    value = difference_of_logits_ratio(z, np.array([1]))
    assert value.tolist() == [0.0]
    slope = jax.grad(lambda z: difference_of_logits_ratio(z, np.array([1])).sum())(z)
    assert np.isfinite(np.asarray(slope)).all()


def test_two_classes_are_an_error():
    with pytest.raises(ValueError, match=r"the model has 2\.\nWrite `score=margin`"):
        difference_of_logits_ratio(jnp.ones((1, 2)), np.array([0]))
