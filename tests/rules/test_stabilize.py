"""Stabilizers against the textbook."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import rules
from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from jaxinterp.tracing.errors import BatchAxisError
from tests.oracles import stabilizers as oracle

from .replay import relevance_through

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
    with pytest.raises(ValueError, match="Stabilizer: `epsilon` must be a finite"):
        Stabilizer(epsilon)


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match=r"`only_zeros` changes[^\0]*Give one of them"):
        Stabilizer(1.0, clip=True, only_zeros=True)


@pytest.mark.parametrize(
    "rule",
    [rules.Epsilon, rules.Norm, rules.Flat, rules.Uniform, rules.WSquare, rules.ZPlus],
)
def test_every_rule_checks_its_stabilizer(rule, unchecked):
    with pytest.raises(TypeError, match=r"number or a Stabilizer, and 'x' is neither"):
        rule(epsilon="x")
    with pytest.raises(ValueError, match="at least 0, and is -1"):
        rule(epsilon=-1.0)


def test_what_the_message_recommends_exists():
    assert rules.Epsilon(epsilon=0.25)
    assert rules.Epsilon(epsilon=rules.Stabilizer(0.25, norm_scale=True))


# --- Units of an example --------------------------------------------------------------

W = np.random.default_rng(0).normal(size=(4, 5))
SEQUENCE = np.random.default_rng(1).normal(size=(3, 6, 4))
SEQUENCE = SEQUENCE * np.array([1.0, 10.0, 0.1])[:, None, None]
RELATIVE = Stabilizer(0.3, norm_scale=True)


def time_first(w, x):
    return jnp.swapaxes(jnp.swapaxes(x, 0, 1) @ w, 0, 1)


@pytest.mark.parametrize(
    "rule",
    [
        rules.Epsilon(RELATIVE),
        rules.Norm(RELATIVE),
        rules.Gamma(epsilon=RELATIVE),
        rules.AlphaBeta(epsilon=RELATIVE),
        rules.ZPlus(RELATIVE),
        rules.ZBox(-50.0, 50.0, RELATIVE),
        rules.WSquare(RELATIVE),
        rules.Flat(RELATIVE),
    ],
    ids=str,
)
@pytest.mark.parametrize("steps", [6, 3])  # as many as there are examples, too
def test_examples_do_not_mix_where_the_batch_is_not_first(rule, steps):
    x = SEQUENCE[:, :steps]
    relevance = np.random.default_rng(2).normal(size=(3, steps, 5))
    expected = relevance_through(lambda w, x: x @ w, rule, W, x, relevance)
    received = relevance_through(time_first, rule, W, x, relevance)
    np.testing.assert_allclose(received, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        lambda w, x: x.reshape(-1, 4) @ w,
        lambda w, x: lax.map(lambda step: step @ w, x),
    ],
    ids=["merged", "loop"],
)
def test_where_examples_are_lost_it_is_an_error(model):
    z = model(W, SEQUENCE)
    message = r"norm_scale=True\) needs to know[^\0]*`\(at\('dense|w'\), Epsilon"
    with pytest.raises(BatchAxisError, match=message):
        relevance_through(model, rules.Epsilon(RELATIVE), W, SEQUENCE, z)
    assert relevance_through(model, rules.Epsilon(1e-6), W, SEQUENCE, z) is not None
