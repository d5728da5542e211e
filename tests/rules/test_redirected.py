"""Modified derivatives for making pictures, against NumPy and against what they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.tracing.errors import BatchAxisError
from tests.compiled import compiled
from tests.oracles import redirected as oracle

from .replay import relevance_through

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 3)) * 8
X[1] = -np.abs(X[1])  # dead for a relu
X[3] = np.where(RNG.random(X[3].shape) < 0.5, -1.0, 7.0)  # dead for a relu6
G = RNG.normal(size=X.shape)
G[2, 0] = 0.0

RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "times a mask": lambda x: x * (x > 0),
    "under jit": jax.jit(lambda x: jnp.maximum(x, 0.0)),
}
CLIPS = {
    "jax.nn.relu6": jax.nn.relu6,
    "clip": lambda x: jnp.clip(x, 0, 6),
    "minimum of maximum": lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
}
SMOOTH = {
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "sigmoid": jax.nn.sigmoid,
    "abs": jnp.abs,
}


def received(f, rule, x=X, g=G):
    run = functools.partial(relevance_through, lambda _, x: f(x), rule, None)
    return np.asarray(compiled(run)(x, g))


@pytest.mark.parametrize("name", RELUS)
def test_a_dead_relu_is_redirected(name):
    value = received(RELUS[name], rules.RedirectedReLU())
    np.testing.assert_array_equal(value, oracle.redirected(X, G))


@pytest.mark.parametrize("name", CLIPS)
def test_a_relu6_is_redirected_at_both_ends(name):
    value = received(CLIPS[name], rules.RedirectedReLU())
    np.testing.assert_array_equal(value, oracle.redirected(X, G, high=6))
    assert (value[3] != 0).any()  # which a relu would not call dead


@pytest.mark.parametrize("name", SMOOTH)
def test_other_activations_have_their_own_derivative(name):
    far = X * 1e3  # where tanh and sigmoid are flat too
    for x in (X, far):
        own = jax.vjp(SMOOTH[name], x)[1](G)[0]
        value = received(SMOOTH[name], rules.RedirectedReLU(), x)
        np.testing.assert_allclose(value, own, rtol=1e-12, atol=1e-12)


def test_a_leaky_relu_is_never_dead():
    f = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
    own = jax.vjp(f, X)[1](G)[0]
    np.testing.assert_array_equal(received(f, rules.RedirectedReLU()), own)


def test_the_kept_gradient_asks_for_more():
    # What is maximized grows along the redirected gradient until the relu opens.
    w = jnp.array([1.0, -1.0, 0.5])
    model = ji.with_rules(lambda w, x: jax.nn.relu(x) @ w, rules.redirected())
    x = jnp.array([[-1.0, -1.0, -2.0]])
    for _ in range(30):
        x = x + 0.1 * jax.grad(lambda x: model(w, x).sum())(x)
    assert model(w, x)[0] > 0
    assert x[0, 1] == -1.0  # being negative is what the second entry is wanted for


def test_one_example_that_lives_does_not_keep_others_dead():
    alone = received(jax.nn.relu, rules.RedirectedReLU(), X[1:2], G[1:2])
    together = received(jax.nn.relu, rules.RedirectedReLU())[1:2]
    np.testing.assert_array_equal(alone, together)
    assert (alone != 0).any()


def test_examples_are_found_where_a_transpose_put_them():
    def model(_, x):
        return jax.nn.relu(jnp.transpose(x, (1, 2, 0)))

    g = np.transpose(G, (1, 2, 0))
    value = compiled(
        lambda x, g: relevance_through(model, rules.RedirectedReLU(), None, x, g)
    )(X, g)
    np.testing.assert_array_equal(value, oracle.redirected(X, G))


def test_examples_are_found_where_they_are_merged_with_other_axes():
    def model(x):
        return jax.nn.relu(x.reshape(20, 3)).reshape(4, 5, 3)

    value = received(model, rules.RedirectedReLU())
    np.testing.assert_array_equal(value, oracle.redirected(X, G))


def test_it_cannot_be_told_who_is_dead_if_examples_are_mixed():
    def model(_, x):
        return jax.nn.relu(jnp.cumsum(x, axis=0))

    ruled = ji.with_rules(model, rules.redirected())
    with pytest.raises(BatchAxisError, match="RedirectedReLU"):
        jax.grad(lambda x: ruled(None, x).sum())(X)


def test_the_preset_is_the_gradient_where_nothing_is_dead():
    w = [RNG.normal(size=(3, 8)), RNG.normal(size=(8, 2))]

    def model(w, x):
        return jax.nn.relu(x @ w[0]) @ w[1]

    x = RNG.normal(size=(6, 3))
    ruled = ji.with_rules(model, rules.redirected())
    expected = jax.grad(lambda x: model(w, x)[:, 0].sum())(x)
    value = jax.grad(lambda x: ruled(w, x)[:, 0].sum())(x)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype):
    x, g = jnp.asarray(X, dtype), jnp.asarray(G, dtype)
    value = relevance_through(
        lambda _, x: jax.nn.relu6(x), rules.RedirectedReLU(), None, x, g
    )
    assert value.dtype == dtype
    expected = oracle.redirected(
        np.asarray(x, np.float64), np.asarray(g, np.float64), 6
    )
    np.testing.assert_array_equal(np.asarray(value, np.float64), expected)


POOLINGS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)]


def pooling(window, stride, padding):
    def f(x):
        return lax.reduce_window(
            x,
            -jnp.inf,
            lax.max,
            (1, window, 1),
            (1, stride, 1),
            ((0, 0), (padding, padding), (0, 0)),
        )

    return f


@pytest.mark.parametrize("numbers", POOLINGS)
@pytest.mark.parametrize("epsilon", [None, 1e-2, 0.5])
def test_max_pooling_goes_back_as_a_mean(numbers, epsilon):
    x = RNG.normal(size=(2, 9, 3))
    f = pooling(*numbers)
    g = RNG.normal(size=f(x).shape)
    rule = (
        rules.SmoothMaxPool("average")
        if epsilon is None
        else rules.SmoothMaxPool("l2", epsilon)
    )
    window, stride, padding = numbers
    expected = oracle.pooled_gradient(x, g, window, stride, padding, epsilon)
    np.testing.assert_allclose(received(f, rule, x, g), expected, rtol=1e-10)


def test_the_pooling_itself_is_unchanged():
    x = RNG.normal(size=(2, 9, 3))
    f = pooling(3, 2, 1)
    model = ji.with_rules(lambda _, x: f(x), rules.smooth_max_pool())
    np.testing.assert_array_equal(model(None, x), f(x))


def test_zeros_have_a_finite_gradient():
    x, g = np.zeros((1, 4, 2)), np.ones((1, 2, 2))
    value = received(pooling(2, 2, 0), rules.SmoothMaxPool(), x, g)
    np.testing.assert_array_equal(value, 0)


def test_the_linearized_gradient_does_not_depend_on_the_input():
    w = [RNG.normal(size=(3, 4)), RNG.normal(size=(4, 1))]

    def model(w, x):
        return (pooling(2, 2, 0)(jax.nn.relu(x @ w[0])) @ w[1]).sum((1, 2))

    ruled = ji.with_rules(model, rules.linearized())
    slopes = [
        jax.grad(lambda x: ruled(w, x).sum())(x)
        for x in (np.ones((1, 4, 3)), RNG.normal(size=(1, 4, 3)))
    ]
    expected = np.broadcast_to((w[0] @ w[1])[:, 0] / 2, (1, 4, 3))
    for slope in slopes:
        np.testing.assert_allclose(slope, expected, rtol=1e-12)


def test_composites_for_pictures_combine_in_front():
    both = (
        rules.Composite([(ji.of_role("activation"), rules.RedirectedReLU())])
        + rules.smooth_max_pool()
    )

    def model(w, x):
        return pooling(2, 2, 0)(jax.nn.relu(x @ w))

    plan = ji.plan(model, both, np.ones((3, 3)), np.ones((1, 4, 3)))
    assert [str(row.rule) for row in plan.rows] == [
        "Gradient()",
        "RedirectedReLU()",
        "SmoothMaxPool()",
    ]


@pytest.mark.parametrize(
    ("rule", "needs"),
    [
        (rules.RedirectedReLU(), "needs an activation"),
        (rules.SmoothMaxPool(), "needs max pooling over windows"),
    ],
    ids=str,
)
def test_other_sites_are_refused(rule, needs):
    with pytest.raises(rules.RuleSiteError, match=needs):
        relevance_through(lambda w, x: x @ w, rule, np.ones((3, 3)), X, G)


def test_hyperparameters_are_checked(unchecked):
    with pytest.raises(ValueError, match="'l2' or 'average', and is 'mean'"):
        rules.SmoothMaxPool("mean")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`epsilon` must be positive, and is 0"):
        rules.SmoothMaxPool(epsilon=0.0)
