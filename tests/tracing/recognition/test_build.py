"""What a node says of its inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import trace
from tests.tracing.arrays import normal

W, TOKENS = normal(7, 4), np.array([[3, 1, 0], [2, 2, 5]])


def attend(w, tokens, change):
    x = w[tokens]
    weights = jax.nn.softmax(x @ x.swapaxes(1, 2))
    return change(weights, tokens) @ x


CHANGED = {
    "as it is": (lambda a, tokens: a, True),
    "scaled and turned": (lambda a, tokens: 2.0 * a.swapaxes(1, 2), True),
    "masked by the tokens": (lambda a, tokens: a * (tokens > 0)[:, None], True),
    "times an activation": (lambda a, tokens: a * jnp.sin(a), False),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_product_knows_which_factor_is_of_a_softmax(name):
    change, is_of_softmax = CHANGED[name]
    graph = trace(lambda w, tokens: attend(w, tokens, change), W, TOKENS)
    product = graph.nodes[-1]
    assert product.role == "matmul"
    assert len(product.softmaxes) == is_of_softmax
    assert product.softmaxes <= {product.inputs[0]}
