"""The attention matrices of a model: which sites, and which axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.tracing.attention import attention_matrices
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from tests.tracing.arrays import normal

X, W = normal(2, 5, 4), normal(3, 4, 4, seed=1)


def weights(w, x):
    return jax.nn.softmax((x @ w[0]) @ (x @ w[1]).swapaxes(1, 2))


def kept(w, x):
    return jnp.tril(jnp.ones((5, 5)))[None] * weights(w, x)


READ = {
    "a matrix product": lambda w, x: weights(w, x) @ (x @ w[2]),
    "targets last": lambda w, x: jnp.einsum(
        "bst,bsd->btd", weights(w, x).swapaxes(1, 2), x @ w[2]
    ),
    "masked afterwards": lambda w, x: kept(w, x) @ (x @ w[2]),
    "cast and scaled": lambda w, x: (
        (2.0 * weights(w, x)).astype(jnp.float64) @ (x @ w[2])
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_softmax_that_is_multiplied_with_activations_is_a_matrix(name):
    traced = trace_call(READ[name], W, X)
    (matrix,) = attention_matrices(traced)
    value = matrix.site.value
    _, captured = traced.run(Changes(captures=frozenset({value})))
    ordered = matrix.ordered(captured[value])
    assert ordered.shape == (1, 2, 1, 5, 5)
    np.testing.assert_allclose(ordered[0, :, 0], weights(W, X), rtol=1e-12)


@pytest.mark.parametrize(
    "fn",
    [
        lambda w, x: jax.nn.softmax(x @ w[0]),
        lambda w, x: jax.nn.softmax(x @ w[0]) @ w[1],
        lambda w, x: jnp.sin(x @ w[0]) @ x.swapaxes(1, 2),
    ],
)
def test_what_is_multiplied_with_no_activation_is_none(fn):
    with pytest.raises(ValueError, match="The model has no attention"):
        attention_matrices(trace_call(fn, W, X))
