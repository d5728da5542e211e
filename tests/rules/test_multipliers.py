"""Multipliers of single steps: what they are, and that no difference is lost."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.attribution import deep_lift
from jaxinterp.objectives import total
from jaxinterp.rules.multipliers import reveal_cancel
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import deep_lift as oracle

X, REF = 2 * models.normal(1, 3, 6), models.normal(2, 3, 6)
MATRIX = models.normal(3, 6, 6)


def norm(x, epsilon=1e-6):
    centered = x - x.mean(-1, keepdims=True)
    return centered / jnp.sqrt((centered**2).mean(-1, keepdims=True) + epsilon)


def attention(x):
    q, k, v = (
        x[..., None] * c
        for c in jnp.array([[[[1.0, 2.0]]], [[[0.5, -1]]], [[[2.0, 1]]]])
    )
    return jax.nn.softmax(q @ k.mT) @ v


def ones_rounded(x):
    """Rounds, with a derivative of its own, which is not that of the values."""
    return x + lax.stop_gradient(jnp.round(x) - x)


STEPS = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "square": jnp.square,
    "product": lambda x: x * x[:, ::-1],
    "three factors": lambda x: x * (x[:, ::-1] * (x @ MATRIX)),
    "a factor twice": lambda x: x * ((x @ MATRIX) * x),
    "norm": norm,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=-1, keepdims=True),
    "logsumexp, negative": lambda x: -jax.nn.logsumexp(-2 * x, -1, keepdims=True),
    "attention": attention,
    "maximum": lambda x: jnp.maximum(x, x[:, ::-1] ** 2),
    "minimum": lambda x: jnp.min(x * MATRIX[:1], axis=-1, keepdims=True),
    "running maximum": lambda x: lax.cummax(x, axis=1),
    "pooling": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3), (1, 1), "SAME"
    ),
    "scan": lambda x: (
        lax.scan(lambda c, row: (jnp.tanh(c + row * c), c * row), x.T[0], x.T)[1].T
    ),
    "checkpoint": jax.checkpoint(lambda x: jax.nn.silu(x) * jnp.exp(x[:, ::-1])),
    "branch": lambda x: lax.cond(
        MATRIX[0, 0] > 9, jnp.sin, lambda x: jnp.cos(x) * x, x
    ),
    "unnormalized": lambda x: x / (x**2).sum(-1, keepdims=True),
    "own derivative": ones_rounded,
}


@pytest.mark.parametrize("name", STEPS)
def test_attributions_add_up_to_the_difference(name):
    def model(w, x):
        y = STEPS[name](x @ w).reshape(3, -1)
        return (y * jnp.sin(jnp.arange(1.0, y.shape[1] + 1))[None]).sum(-1)

    attribute = compiled(deep_lift(model, baseline=REF, score=total))
    difference = model(MATRIX, X) - model(MATRIX, REF)
    received = attribute(MATRIX, X)
    size = np.abs(received).sum(-1).max() + np.abs(difference).max()
    np.testing.assert_allclose(received.sum(-1), difference, rtol=0, atol=1e-13 * size)
    assert size > 1e-2


def shares(step, x, ref, upstream):
    """Multipliers of a step, by the attributions of a weighted sum of its results."""
    attribute = deep_lift(
        lambda w, x: (step(x) * jnp.atleast_2d(w)).sum(-1), baseline=ref, score=total
    )
    return attribute(upstream, x) / (x - ref)


def test_softmax_has_its_closed_form_and_knows_no_shift():
    upstream = models.normal(5, 6)
    expected = [oracle.softmax(x, ref, upstream) for x, ref in zip(X, REF, strict=True)]
    received = shares(jax.nn.softmax, X, REF, upstream)
    np.testing.assert_allclose(received, expected, rtol=1e-10)
    shifted = shares(jax.nn.softmax, X + 50.0, REF, upstream)
    np.testing.assert_allclose(shifted, expected, rtol=1e-8)


def test_the_factor_of_the_logits_is_told_with_its_sign():
    """Softmax of minus twice the input, past negations, differences and a base."""

    def over(e):
        return e / e.sum(-1, keepdims=True)

    upstream = models.normal(6, 6)
    pairs = zip(-2 * X, -2 * REF, strict=True)
    expected = [-2 * oracle.softmax(x, ref, upstream) for x, ref in pairs]
    for spelling in (
        lambda x: jax.nn.softmax(-2 * x),
        lambda x: over(jnp.exp(-(2 * x))),
        lambda x: over(jnp.exp(3 - 2 * x)),
        lambda x: over(jnp.exp2(-2 * x / np.log(2))),
        lambda x: jnp.exp(-(jax.nn.logsumexp(-2 * x, -1, keepdims=True) + 2 * x)),
    ):
        received = shares(spelling, X, REF, upstream)
        np.testing.assert_allclose(received, expected, rtol=1e-8)


def test_logits_of_any_size_lose_nothing():
    attribute = deep_lift(
        lambda w, x: jax.nn.softmax(1000 * x)[:, 0], baseline=REF, score=total
    )
    x = np.array(REF)
    x[:, 0] += [5.0, 0.0, 1e-13]
    received = attribute(0.0, x)
    expected = jax.nn.softmax(1000 * x)[:, 0] - jax.nn.softmax(1000 * REF)[:, 0]
    np.testing.assert_allclose(received.sum(-1), expected, rtol=1e-12, atol=1e-15)


def test_a_factor_gets_the_mean_of_the_other():
    received = shares(lambda x: x[:, :3] * x[:, 3:], X, REF, 1.0)
    mean = (X + REF) / 2
    np.testing.assert_allclose(
        received, np.concatenate([mean[:, 3:], mean[:, :3]], 1), rtol=1e-12
    )


def test_three_factors_share_in_any_order_alike():
    """The Shapley values, over all six orders in which three numbers change."""
    expected = np.zeros((3, 3))
    for order in itertools.permutations(range(3)):
        now = np.array(REF[:, :3])
        for i in order:
            before = now.prod(1)
            now[:, i] = X[:, i]
            expected[:, i] += (now.prod(1) - before) / 6
    spellings = [
        lambda w, x: (x[:, :1] * x[:, 1:2]) * x[:, 2:],
        lambda w, x: x[:, :1] * (x[:, 1:2] * x[:, 2:]),
    ]
    for spelling in spellings:
        received = deep_lift(spelling, baseline=REF[:, :3])(0.0, X[:, :3], 0)
        np.testing.assert_allclose(received, expected, rtol=1e-10)


def test_a_factor_that_is_read_twice_is_one_factor():
    def left(w, x):
        return ((x[:, :3] * x[:, 3:]) * x[:, :3]) @ w

    def right(w, x):
        return (x[:, :3] * (x[:, :3] * x[:, 3:])) @ w

    one, other = (deep_lift(f, baseline=REF)(MATRIX[:3], X, 0) for f in (left, right))
    np.testing.assert_allclose(one, other, rtol=1e-10)
    difference = (left(MATRIX[:3], X) - left(MATRIX[:3], REF))[:, 0]
    np.testing.assert_allclose(one.sum(1), difference, rtol=1e-10)


def test_a_maximum_goes_to_the_entry_that_made_the_difference():
    x, ref = np.array([[3.0, 1.0, 0.0]]), np.array([[1.0, 2.0, 5.0]])
    attribute = deep_lift(lambda w, x: x.max(-1), baseline=ref, score=total)
    assert attribute(0.0, x).tolist() == [[0.0, 0.0, -2.0]]
    attribute = deep_lift(lambda w, x: x.max(-1), baseline=x, score=total)
    assert attribute(0.0, ref).tolist() == [[0.0, 0.0, 2.0]]
    attribute = deep_lift(lambda w, x: x.min(-1), baseline=ref, score=total)
    assert attribute(0.0, x).tolist() == [[0.0, 0.0, -1.0]]


def test_a_norm_of_a_constant_reference_stays_bounded():
    """Whose reciprocal deviation is huge, 1000 here."""
    attribute = deep_lift(lambda w, x: norm(x)[:, 0], baseline=0.7, score=total)
    received = attribute(0.0, X)
    np.testing.assert_allclose(received.sum(-1), norm(X)[:, 0], rtol=1e-12)
    assert np.abs(received).sum(-1).max() < 20


def test_a_norm_by_a_divisor_that_changes_its_sign_is_finite():
    x, ref = np.array([[2.0, -3.0]]), np.array([[2.0, -1.0]])

    def model(w, x):
        return (x / x.sum(-1, keepdims=True))[:, 0]

    received = deep_lift(model, baseline=ref, score=total)(0.0, x)
    assert received[0, 1] == pytest.approx(-4.0)


def test_where_nothing_differs_it_is_the_gradient():
    """A short difference is spoiled by rounding; none at all has no slope."""
    near = X + 1e-14
    for step in (jnp.tanh, jax.nn.softmax, lambda x: x * x[:, ::-1]):
        slopes = jax.grad(lambda x, step=step: (step(x) * MATRIX[:3]).sum())(X)
        received = shares(step, near, X, MATRIX[:3])
        np.testing.assert_allclose(received, slopes, rtol=0, atol=1e-2)
        attribute = deep_lift(lambda w, x, f=step: f(x), baseline=X, score=total)
        assert not np.any(attribute(0.0, X))


def test_masks_of_minus_infinity_take_no_part():
    mask = jnp.array([True, False, True, True, False, True])

    def model(w, x):
        return jax.nn.softmax(jnp.where(mask, x, -jnp.inf)) @ w

    received = deep_lift(model, baseline=REF)(MATRIX, X, 0)
    expected = (model(MATRIX, X) - model(MATRIX, REF))[:, 0]
    np.testing.assert_allclose(received.sum(-1), expected, rtol=1e-12)
    assert not np.any(received[:, ~np.array(mask)])


def test_reveal_cancel_of_parts_of_nothing_is_a_derivative():
    """Rounding leaves something of a part that is not there, which is no slope."""
    x, ref, part = np.array([0.3]), np.array([0.0]), np.array([2.0])
    for left in (2e-16, -2e-16, 0.0):
        size = np.array([0.3 + left])
        multiplier = reveal_cancel(jax.nn.sigmoid, (x, size), (ref, 0 * size))
        slope = jax.vmap(jax.grad(jax.nn.sigmoid))
        lowered = multiplier(np.ones(1), -np.ones(1))
        np.testing.assert_allclose(lowered, (slope(ref) + slope(x)) / 2, rtol=1e-9)
    both = reveal_cancel(jax.nn.relu, (x, x + 2 * part), (ref, ref))
    raised, lowered = x + part, -part
    of_raised = (raised + x) / 2  # relu(0) = relu(lowered) = 0
    of_lowered = (x - raised) / 2
    np.testing.assert_allclose(both(raised, raised), of_raised)
    np.testing.assert_allclose(both(lowered, -lowered), of_lowered)
    np.testing.assert_allclose(both(x, x + 2 * part), x)
