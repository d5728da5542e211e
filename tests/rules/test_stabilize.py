"""Stabilizers against the textbook."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import rules
from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from tests.oracles import stabilizers as oracle

Z = np.array([[[-3.0, 0.0], [4.0, -1e-9]], [[0.0, -0.0], [0.0, 0.0]]])
PAIRS = {
    Stabilizer(0.5): oracle.signed(0.5),
    Stabilizer(0.5, clip=True): oracle.clipped(0.5),
    Stabilizer(0.1, norm_scale=True): oracle.norm_scaled(0.1),
    Stabilizer(0.1, clip=True, norm_scale=True): oracle.norm_scaled(0.1, clip=True),
    Stabilizer(1e-7, only_zeros=True): oracle.only_zeros(1e-7),
    Stabilizer(0.0): oracle.exact(),
}


@pytest.mark.parametrize("ours", PAIRS, ids=str)
def test_stabilizers_are_those_of_the_textbook(ours):
    expected = np.stack([PAIRS[ours](example) for example in Z])
    np.testing.assert_allclose(ours(jnp.asarray(Z)), expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype, strict_promotion):
    z = jnp.asarray(Z, dtype)
    for ours in PAIRS:
        assert ours(z).dtype == dtype


def test_zero_counts_as_positive():
    for z in (0.0, -0.0):
        assert Stabilizer(0.25)(jnp.full((1, 1), z)) == 0.25


def test_a_number_means_the_default_stabilizer(unchecked):
    assert stabilizer(0.25) == Stabilizer(0.25)
    assert stabilizer(Stabilizer(1.0, clip=True)) == Stabilizer(1.0, clip=True)
    assert rules.Epsilon(1).epsilon == 1


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), None, "large"])
def test_epsilon_must_be_a_number_of_at_least_zero(epsilon, unchecked):
    with pytest.raises(ValueError, match="Stabilizer: `epsilon` must be a number"):
        Stabilizer(epsilon)


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match=r"`only_zeros` leaves[^\0]*Give one of them"):
        Stabilizer(1.0, clip=True, only_zeros=True)


@pytest.mark.parametrize(
    "rule",
    [rules.Epsilon, rules.Norm, rules.Flat, rules.Uniform, rules.WSquare, rules.ZPlus],
)
def test_every_rule_checks_its_stabilizer(rule, unchecked):
    with pytest.raises(TypeError, match=r"number or a Stabilizer, and 'x' was given"):
        rule(epsilon="x")
    with pytest.raises(ValueError, match="at least 0, and is -1"):
        rule(epsilon=-1.0)


def test_what_the_message_recommends_exists():
    assert rules.Epsilon(epsilon=0.25)
    assert rules.Epsilon(epsilon=rules.Stabilizer(0.25, norm_scale=True))
