"""Rules of the first layer, in every layout that a layer may read its input in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.tracing.errors import BatchAxisError

from .replay import relevance_through

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 6))
X = RNG.normal(size=(3, 4))
SEQUENCE = RNG.normal(size=(3, 5, 4))
R = RNG.normal(size=(3, 6))
PER_CHANNEL = (-3.0, -4.0, -5.0, -6.0)
PER_ENTRY = -3.0 - np.arange(20.0).reshape(5, 4)


def right(w, x):
    return x @ w


def left(w, x):
    return (w.T @ x.T).T


def mapped(w, x):
    return jax.vmap(lambda row: w.T @ row)(x)


@pytest.mark.parametrize("low", [-3.0, PER_CHANNEL], ids=["number", "per channel"])
@pytest.mark.parametrize("layout", [left, mapped])
def test_bounds_do_not_depend_on_the_side_of_the_kernel(layout, low):
    expected = relevance_through(right, rules.ZBox(low, 3.0), W, X, R)
    actual = relevance_through(layout, rules.ZBox(low, 3.0), W, X, R)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_bounds_of_an_ensemble():
    """Members have the axis of examples behind their own."""
    w, x = RNG.normal(size=(2, 4, 6)), RNG.normal(size=(3, 2, 4))
    relevance = RNG.normal(size=(3, 2, 6))
    ensemble = jax.vmap(lambda w, x: x @ w, in_axes=(0, 1), out_axes=1)
    for low in (-3.0, PER_CHANNEL):
        rule = rules.ZBox(low, 3.0)
        received = relevance_through(ensemble, rule, w, x, relevance)
        for i in range(2):
            one = relevance_through(right, rule, w[i], x[:, i], relevance[:, i])
            np.testing.assert_allclose(received[:, i], one, rtol=1e-10)


@pytest.mark.parametrize("batch", [3, 5])  # as many as there are steps, too
@pytest.mark.parametrize("low", [PER_CHANNEL, PER_ENTRY], ids=["channel", "entry"])
def test_bounds_of_one_example_where_time_comes_first(batch, low):
    x = RNG.normal(size=(batch, 5, 4))
    relevance = RNG.normal(size=(batch, 5, 6))
    rule = rules.ZBox(low, 3.0)

    def time_first(w, x):
        return jnp.swapaxes(jnp.swapaxes(x, 0, 1) @ w, 0, 1)

    expected = relevance_through(right, rule, W, x, relevance)
    actual = relevance_through(time_first, rule, W, x, relevance)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_bounds_per_channel_where_steps_are_merged_with_examples():
    relevance = RNG.normal(size=(15, 6))

    def merged(w, x):
        return x.reshape(-1, 4) @ w

    rule = rules.ZBox(PER_CHANNEL, 3.0)
    received = relevance_through(merged, rule, W, SEQUENCE, relevance)
    whole = relevance_through(right, rule, W, SEQUENCE, relevance.reshape(3, 5, 6))
    np.testing.assert_allclose(received, whole, rtol=1e-10)


def test_bounds_of_an_example_need_its_axis():
    def in_a_loop(w, x):
        return lax.scan(lambda h, _: (h @ w, None), x, None, length=2)[0]

    with pytest.raises(BatchAxisError, match=r"ZBox with `low` of shape \(4,\) needs"):
        relevance_through(
            in_a_loop, rules.ZBox(PER_CHANNEL, 3.0), W[:, :4], X, R[:, :4]
        )
    number = relevance_through(in_a_loop, rules.ZBox(-3.0, 3.0), W[:, :4], X, R[:, :4])
    assert np.isfinite(number).all()


@pytest.mark.parametrize(
    "rule", [rules.Flat(), rules.WSquare(), rules.ZBox(-5.0, 5.0)], ids=str
)
def test_an_activation_may_be_the_right_operand_of_a_convolution(rule):
    """Here it is a dense map too, of each window with the filters."""
    images, filters = RNG.normal(size=(2, 4, 4, 3)), RNG.normal(size=(2, 2, 3, 5))
    numbers = ("NHWC", "HWIO", "NHWC")

    def convolved(images, filters):
        return lax.conv_general_dilated(
            images, filters, (1, 1), "VALID", dimension_numbers=numbers
        )

    rows = [images[:, i : i + 3, j : j + 3] for i in range(2) for j in range(2)]
    windows = np.stack(rows, axis=-2)

    def written_out(windows, filters):
        return jnp.einsum("nhwkc,kcd->nhwd", windows, filters.reshape(4, 3, 5))

    relevance = RNG.normal(size=(2, 3, 3, 5))
    np.testing.assert_allclose(
        convolved(images, filters), written_out(windows, filters), rtol=1e-10
    )
    expected = relevance_through(written_out, rule, windows, filters, relevance)
    actual = relevance_through(convolved, rule, images, filters, relevance)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 9.0, r"ZBox\(low=0\.0, high=9\.0.* at dense: the inputs leave"),
        (-9.0, 0.0, "leave the box"),
        ((-9.0, -9.0, -9.0, 0.5), 9.0, "leave the box"),
    ],
)
def test_inputs_that_leave_the_box_are_an_error(low, high, message):
    box = rules.ZBox(low, high)
    found = rf"in \[{X.min():g}, {X.max():g}\]"
    with pytest.raises(ValueError, match=f"(?s){message}.*{found}"):
        relevance_through(right, box, W, X, R)


def test_an_input_that_is_always_the_same_gets_nothing():
    x = np.array(X)
    x[:, 1] = 0.5
    box = rules.ZBox((-9.0, 0.5, -9.0, -9.0), (9.0, 0.5, 9.0, 9.0))
    received = relevance_through(right, box, W, x, R)
    assert (received[:, 1] == 0).all()
    assert (received[:, [0, 2, 3]] != 0).all()


def test_under_jit_the_box_is_not_checked():
    through = jax.jit(lambda x: relevance_through(right, rules.ZBox(0.0, 9.0), W, x, R))
    assert np.isfinite(through(X)).all()


@pytest.mark.parametrize("mu", [0.2, (0.1, -0.2, 0.3, 0.0)], ids=["number", "channel"])
@pytest.mark.parametrize("layout", [left, mapped])
def test_thresholds_of_signs_do_not_depend_on_the_side_of_the_kernel(layout, mu):
    rule = rules.Sign(mu)
    sides = np.where(np.asarray(mu) <= X, 1, -1)
    expected = sides * ((R / (X @ W + 1e-6 * np.sign(X @ W))) @ W.T)
    for model in (right, layout):
        actual = relevance_through(model, rule, W, X, R)
        np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_thresholds_must_fit_an_example():
    with pytest.raises(
        ValueError, match=r"Sign: `mu` has shape \(3,\), which does not"
    ):
        relevance_through(right, rules.Sign((0.0, 1.0, 2.0)), W, X, R)


def test_signs_in_a_relu_network_are_those_of_the_input_times_the_gradient():
    v = {"stem": W, "bias": RNG.normal(size=(1, 6)), "head": RNG.normal(size=(6, 2))}

    def network(v, x):
        return jax.nn.relu(x @ v["stem"] + v["bias"]) @ v["head"]

    composite = [
        ("stem", rules.Sign(epsilon=0.0)),
        ("head", rules.Zero()),
        ("*", rules.Pass()),
    ]
    x, target = jnp.asarray(X).at[0, 1].set(0.0), np.array([0, 1, 1])
    found = ji.attribution.lrp(network, composite=composite)(v, x, target)
    gradient = ji.attribution.gradient(network)(v, x, target)
    np.testing.assert_allclose(found, np.where(x >= 0, 1, -1) * gradient, rtol=1e-10)
    books = ji.ledger(network, composite, v, x, target)
    assert books.leak == "stem"


def test_inputs_on_the_border_of_the_box_may_be_rounded():
    x = jnp.asarray(np.linspace(-2.15, 2.65, 12).reshape(3, 4), jnp.bfloat16)
    box = rules.ZBox(-2.15, 2.65)
    assert float(x.min()) < -2.15 < 2.65 < float(x.max())
    received = relevance_through(right, box, jnp.bfloat16(W), x, jnp.bfloat16(R))
    assert np.isfinite(received.astype(np.float32)).all()


def test_padding_is_not_in_the_box_of_an_example():
    """Written as a part of the convolution or before it; zero is in no example."""
    kernel = RNG.normal(size=(3, 3, 2, 4))
    x, relevance = RNG.uniform(0.2, 1, size=(2, 5, 5, 2)), RNG.normal(size=(2, 5, 5, 4))

    def convolved(w, x, padding="SAME"):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, (1, 1), padding, dimension_numbers=numbers
        )

    def padded(w, x):
        return convolved(w, jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), "VALID")

    expected = relevance_through(convolved, rules.ZBox(), kernel, x, relevance)
    actual = relevance_through(padded, rules.ZBox(), kernel, x, relevance)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    for i in range(2):
        given = rules.ZBox(x[i].min(), x[i].max())
        one = relevance_through(convolved, given, kernel, x[i:][:1], relevance[i:][:1])
        np.testing.assert_allclose(expected[i], one[0], rtol=1e-9)
