"""Integrated distance gradients against the textbook, and their sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import idgi
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
START = models.normal(20, 5)


def logit_of(target):
    """A logit of `smooth_mlp` at one example, and its gradient, in NumPy."""

    def forward(x):
        hidden = []
        for layer in LAYERS[:-1]:
            x = np.tanh(x @ layer["w"] + layer["b"][0])
            hidden.append(x)
        return hidden, x @ LAYERS[-1]["w"][:, target] + LAYERS[-1]["b"][0, target]

    def slope(x):
        hidden, _ = forward(x)
        back = LAYERS[-1]["w"][:, target]
        for layer, h in zip(LAYERS[-2::-1], hidden[::-1], strict=True):
            back = layer["w"] @ (back * (1 - h**2))
        return back

    return lambda x: forward(x)[1], slope


def test_it_is_the_sum_of_the_textbook():
    attribute = compiled(idgi(models.smooth_mlp, baseline=START, steps=7))
    received = attribute(LAYERS, X, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.idgi(*logit_of(target), X[i], START, 7)
        np.testing.assert_allclose(received[i], expected, rtol=1e-10)


@pytest.mark.parametrize("steps", [1, 5])
def test_it_adds_up_with_any_number_of_steps(steps):
    """Of a relu network without biases too, whose slope at zeros is zero."""
    for model, baseline in ((models.mlp, 0.3), (models.unbiased_mlp, 0.0)):
        attribute = compiled(idgi(model, steps=steps, baseline=baseline))
        received = attribute(LAYERS, X, TARGET).sum(1)
        logits = [model(LAYERS, x)[np.arange(3), TARGET] for x in (X, 0 * X + baseline)]
        np.testing.assert_allclose(received, logits[0] - logits[1], rtol=1e-10)


def test_several_inputs_and_an_activation_share_one_sum():
    variables, x = models.two_weights(), models.pair()
    received = compiled(idgi(models.two_inputs, steps=3))(variables, x, TARGET)
    whole = sum(np.asarray(a).reshape(3, -1).sum(1) for a in received.values())
    ends = [
        models.two_inputs(variables, jax.tree.map(lambda a, s=s: s * a, x))
        for s in (1, 0)
    ]
    expected = (ends[0] - ends[1])[np.arange(3), TARGET]
    np.testing.assert_allclose(whole, expected, rtol=1e-10)
    hidden = idgi(models.mlp, steps=3, at="relu_1")(LAYERS, X, TARGET)
    expected = models.mlp(LAYERS, X)[np.arange(3), TARGET] - LAYERS[-1]["b"][0, TARGET]
    np.testing.assert_allclose(hidden.sum(1), expected, rtol=1e-10)


def test_an_entry_that_does_not_move_has_a_share():
    attribute = idgi(lambda w, x: x @ w, steps=2)
    received = attribute(np.array([[2.0], [1.0]]), np.array([[5.0, 0.0]]), 0)
    np.testing.assert_allclose(received, [[8, 2]], rtol=1e-12)


def test_a_step_without_a_slope_is_left_out_and_nan_stays_nan():
    def stairs(w, x):  # it rises between the middles of two steps
        return jnp.clip(20 * (x - w), 0, 1).sum(1, keepdims=True)

    assert not idgi(stairs, steps=4)(0.5, jnp.ones((1, 2)), 0).any()
    assert idgi(stairs, steps=20)(0.5, jnp.ones((1, 2)), 0).sum() == 2
    x = jnp.array([[1.0, 2.0], [jnp.nan, 2.0]])
    received = idgi(lambda w, x: x**2, steps=2, score=total)(None, x)
    assert np.isfinite(received[0]).all()
    assert np.isnan(received[1]).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_small_slopes_keep_their_shares(dtype):
    def tiny(w, x):
        return (x * w).sum(1, keepdims=True)

    scale = 2.0**-13 if dtype == jnp.float16 else 2.0**-80  # the squares are zeros
    weights = jnp.array([[2.0, 1.0]], dtype) * jnp.asarray(scale, dtype)
    received = idgi(tiny, steps=4)(weights, jnp.ones((1, 2), dtype), 0)
    assert received.dtype == dtype
    np.testing.assert_allclose(np.asarray(received, float) / scale, [[2.4, 0.6]], 0.01)


def test_an_empty_batch_stays_empty():
    assert idgi(models.mlp, steps=2)(LAYERS, X[:0], TARGET[:0]).shape == (0, 5)


def test_float64_inputs_of_numpy_are_taken_without_float64():
    with jax.enable_x64(False):  # where a warning is an error
        weights = jax.tree.map(np.float32, LAYERS)
        received = idgi(models.mlp, steps=2)(weights, X, TARGET)
        assert received.dtype == jnp.float32


def test_heat_lies_on_the_object():
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(1), 4)
    attribute = jax.jit(idgi(apply_fn, steps=8, batch_size=2))
    heat = np.abs(attribute(variables, data.images, data.labels)).sum(-1)
    mask = np.asarray(data.mask)
    assert (heat * mask).sum() > 3 * mask.mean() * heat.sum()


@pytest.mark.parametrize("name", ["steps", "batch_size"])
def test_counts_are_positive(name, unchecked):
    with pytest.raises(ValueError, match=f"idgi.*`{name}` must be an integer of at"):
        idgi(models.mlp, **{name: 0})


def test_a_baseline_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not broadcast"):
        idgi(models.mlp, baseline=np.zeros(4))(LAYERS, X, TARGET)
