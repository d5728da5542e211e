"""A softmax goes back by its result alone, and as JAX's derivative does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Composite, Norm
from jaxinterp.tracing.layer.softmax import softmax_axes


def unshifted(x):
    raised = jnp.exp(x)
    return raised / raised.sum(-1, keepdims=True)


def shifted_by_all(x):
    raised = jnp.exp(x - x.max())
    return raised / raised.sum(-1)[..., None]


def shifted_along_another_axis(x):
    raised = jnp.exp(x - x.max(0, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def with_sink(x):
    raised = jnp.exp(x - x.max(-1, keepdims=True))
    return raised / (1e-3 + raised.sum(-1, keepdims=True))


def masked(x):
    return jax.nn.softmax(x, where=jnp.arange(x.shape[-1]) > 0)


FROM_RESULT = {
    "last axis": (jax.nn.softmax, (2,)),
    "first axis": (lambda x: jax.nn.softmax(x, axis=0), (0,)),
    "two axes": (lambda x: jax.nn.softmax(x, axis=(1, 2)), (1, 2)),
    "unshifted": (unshifted, (2,)),
    "shifted by the maximum of all": (shifted_by_all, (2,)),
}
BY_JAX = {
    "half the logits": lambda x: jax.nn.softmax(x / 2),
    "powers of two": lambda x: jnp.exp2(x) / jnp.exp2(x).sum(-1, keepdims=True),
    "computed twice": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
    "shifted along another axis": shifted_along_another_axis,
    "masked": masked,
}


@pytest.mark.parametrize("name", [*FROM_RESULT, *BY_JAX])
def test_it_equals_the_derivative_of_jax(name):
    function, axes = FROM_RESULT.get(name) or (BY_JAX[name], None)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4), jnp.float64)
    nodes = ji.trace(lambda _, x: function(x), None, x).nodes
    (softmax,) = [n for n in nodes if n.role == "softmax"]
    if name != "half the logits":  # there the division is a node of its own
        assert softmax_axes(softmax) == axes
    ruled = ji.with_rules(lambda _, x: function(x), Composite([("*", Norm(1e-12))]))
    outputs, pull = jax.vjp(function, x)
    weights = jax.random.normal(jax.random.key(1), x.shape, jnp.float64)
    relevance = outputs * weights  # over the outputs it is the weights again
    _, pull_ruled = jax.vjp(lambda x: ruled(None, x), x)
    expected = x * pull(weights)[0]
    np.testing.assert_allclose(pull_ruled(relevance)[0], expected, atol=1e-9)


def test_a_sum_with_a_sink_is_not_from_the_result():
    nodes = ji.trace(lambda _, x: with_sink(x), None, jnp.ones((2, 3))).nodes
    assert {softmax_axes(node) for node in nodes} == {None}


def test_what_a_mask_leaves_out_gets_nothing():
    scores = jnp.array([[1.0, -jnp.inf, 2.0]])
    attribute = ji.attribution.lrp(lambda _, x: jax.nn.softmax(x), composite="attn_lrp")
    relevance = attribute(None, scores, jnp.array([2]))
    assert jnp.isfinite(relevance).all()
    assert relevance[0, 1] == 0
