"""Relevance through chosen channels: by hand, and its sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import concept_relevance, lrp
from jaxinterp.rules import Composite, Epsilon, Pass
from tests.networks import functions as models

RNG = np.random.default_rng(4)
PLAIN = Composite([(ji.of_role("activation"), Pass()), ("*", Epsilon(0.0))])


def layers(w, x):
    hidden = jax.nn.relu(x @ w["a"])
    return hidden @ w["b"]


W = {"a": RNG.normal(size=(4, 6)), "b": RNG.normal(size=(6, 3))}
X = RNG.normal(size=(2, 4))


def by_hand(channels):
    """Every path from an input to the logit of class 1 through these channels."""
    relevance = np.zeros_like(X)
    for example, i, k in np.ndindex(2, 4, 6):
        z = X[example] @ W["a"][:, k]
        if k in channels and z > 0:
            relevance[example, i] += X[example, i] * W["a"][i, k] * W["b"][k, 1]
    return relevance


@pytest.mark.parametrize("channels", [2, -1, [0, 3], np.arange(6)])
def test_it_is_the_sum_over_the_paths_through_the_channels(channels):
    attribute = concept_relevance(
        layers, site="relu", channels=channels, composite=PLAIN
    )
    chosen = set(np.arange(6)[np.atleast_1d(channels)].tolist())
    np.testing.assert_allclose(attribute(W, X, 1), by_hand(chosen), rtol=1e-12)


def test_the_maps_of_all_channels_add_up_and_are_one_call():
    """A convolution whose output goes nowhere else."""

    def model(w, x):
        hidden = models.convolve(jax.nn.relu(models.convolve(x, w["a"])), w["b"])
        return hidden.mean((1, 2))

    w = {"a": RNG.normal(size=(3, 3, 2, 4)), "b": RNG.normal(size=(3, 3, 4, 3))}
    x = RNG.normal(size=(2, 6, 6, 2))

    @jax.jit
    def of_each(x):
        def of_one(channel):
            return concept_relevance(model, site="relu", channels=channel)(w, x, 1)

        whole = lrp(model)(w, x, 1)
        inner = lrp(model, at="relu")(w, x, 1)
        attribute = concept_relevance(model, site="relu", channels=2, at="a")
        before = attribute(w, x, 1)
        return jax.vmap(of_one)(jnp.arange(4)), whole, inner, before

    each, whole, inner, before = of_each(x)
    np.testing.assert_allclose(each.sum(axis=0), whole, atol=1e-9)
    assert np.abs(each).max(axis=(1, 2, 3, 4)).min() > 1e-3
    np.testing.assert_allclose(before[..., 2], inner[..., 2], atol=1e-12)
    np.testing.assert_array_equal(np.delete(before, 2, axis=-1), 0)


def test_what_goes_around_the_site_is_left_out():
    def model(w, x):
        return x @ w["b"][:4] + jnp.tanh(x) @ w["b"][:4]

    attribute = concept_relevance(
        model, site="tanh", channels=jnp.arange(4), composite=PLAIN
    )
    expected = np.tanh(X) * W["b"][None, :4, 1]
    np.testing.assert_allclose(attribute(W, X, 1), expected, rtol=1e-12)


def test_what_is_no_channel_is_an_error():
    with pytest.raises(TypeError, match="`channels` is the number of a channel"):
        concept_relevance(layers, site="relu", channels=0.5)
    with pytest.raises(ValueError, match="no channel at 'relu' 6: there are 6"):
        concept_relevance(layers, site="relu", channels=6)(W, X, 1)
    with pytest.raises(ji.tracing.AddressError, match="gelu"):
        concept_relevance(layers, site="gelu", channels=0)(W, X, 1)
    with pytest.raises(ValueError, match=r"one site, and .* matches 3: a, relu, b, "):
        concept_relevance(layers, site="*", channels=0)(W, X, 1)

    def beside(w, x):
        return {"read": x @ w["a"], "not read": jnp.tanh(x)}

    with pytest.raises(ValueError, match="The score does not depend on the activation"):
        concept_relevance(
            *(beside,),
            site="tanh",
            channels=0,
            score=lambda outputs, target: outputs["read"].sum(axis=1),
        )(W, X)

    def looped(w, x):
        x, _ = jax.lax.scan(lambda h, _: (jnp.tanh(h), None), x, None, 2)
        return x @ w["b"][:4]

    with pytest.raises(ValueError, match="is inside a loop or branch"):
        concept_relevance(looped, site="*tanh", channels=0)(W, X, 1)
    with pytest.raises(ValueError, match=r"has the shape \(2,\)"):
        concept_relevance(
            lambda w, x: jnp.tanh(x @ w["b"][:4, 0]),
            site="tanh",
            channels=0,
            score=lambda outputs, target: outputs,
        )(W, X, 1)
    with pytest.raises(ValueError, match="`composite` is 'none'"):
        concept_relevance(layers, site="relu", channels=0, composite="none")
