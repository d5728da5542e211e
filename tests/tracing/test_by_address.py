"""A name that means one site gives an array, a pattern a mapping, from every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.tracing.by_address import ByAddress

a = ji.attribution
METHODS = {
    "deconvnet": a.deconvnet,
    "deep_taylor": a.deep_taylor,
    "gradient": a.gradient,
    "guided_backprop": a.guided_backprop,
    "input_x_gradient": a.input_x_gradient,
    "integrated_gradients": a.integrated_gradients,
    "lrp": a.lrp,
    "saliency": a.saliency,
}
X = np.random.default_rng(0).normal(size=(2, 3))
WEIGHTS = {
    "w": np.random.default_rng(1).normal(size=(3, 4)),
    "v": np.random.default_rng(2).normal(size=(4, 2)),
}


def net(variables, x):
    with jax.named_scope("Net"):
        with jax.named_scope("hidden"):
            x = x @ variables["w"]
        x = jax.nn.relu(x)
        with jax.named_scope("head"):
            return x @ variables["v"]


@pytest.mark.parametrize("name", METHODS)
def test_a_name_gives_an_array_and_a_pattern_a_mapping(name):
    method = METHODS[name]
    target = jnp.array([1, 0])
    array = method(net, at="Net/hidden")(WEIGHTS, X, target)
    assert array.shape == (2, 4)
    short = method(net, at="hidden")(WEIGHTS, X, target)
    np.testing.assert_array_equal(short, array)
    for at in ("hidd*", "Net/hid*", ji.at("hidden"), ji.first()):
        by_address = method(net, at=at)(WEIGHTS, X, target)
        assert list(by_address) == ["Net/hidden"]
        np.testing.assert_array_equal(by_address["hidden"], array)
        np.testing.assert_array_equal(by_address["Net/hidden"], array)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_capture_is_asked_by_either_name(transform):
    _, activations = transform(ji.capture(net, "*"))(WEIGHTS, X)
    assert list(activations) == ["Net/hidden", "Net/relu", "Net/head", "Net"]
    for name in ("hidden", "Net/hidden"):
        assert name in activations
        np.testing.assert_allclose(activations[name], X @ WEIGHTS["w"])
        assert activations.get(name) is activations["hidden"]
    assert "hidde" not in activations
    assert activations.get("hidde") is None
    with pytest.raises(KeyError, match="hidde"):
        activations["hidde"]
    assert len(activations) == len(dict(activations)) == 4


def test_it_is_a_pytree_whose_paths_are_addresses():
    arrays = ByAddress({"N/b": 1.0, "N/a": 2.0}, {"N/b": ("b",), "N/a": ("a",)})
    doubled = jax.tree.map(lambda x: 2 * x, arrays)
    assert dict(doubled) == {"N/b": 2.0, "N/a": 4.0}
    assert doubled["a"] == 4.0
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(arrays)]
    assert paths == ["['N/b']", "['N/a']"]
    assert repr(arrays) == "ByAddress({'N/b': 1.0, 'N/a': 2.0})"


def test_an_address_goes_before_the_short_name_of_another():
    arrays = ByAddress({"N/a": 1.0, "a": 2.0}, {"N/a": ("a",), "a": ()})
    assert arrays["a"] == 2.0


def test_captured_activations_are_values_to_intervene_with():
    clean = ji.capture(net, "hidden")(WEIGHTS, X)[1]
    patched = ji.intervene(net, clean)(WEIGHTS, np.zeros_like(X))
    np.testing.assert_allclose(patched, net(WEIGHTS, X))
