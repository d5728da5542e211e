"""Which entries of an activation do not depend on the input."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.facts.constants import active_entries

X = np.ones((2, 3))


def padded(low, high, inner=0):
    return lambda x: lax.pad(x, 0.0, ((0, 0, 0), (low, high, inner)))


# A function, and the numbers by which it marks what does not depend on the input.
JOINED = {
    "padded by one on the left": (padded(1, 0), [0, 1, 1, 1]),
    "padded by one on the right": (padded(0, 1), [1, 1, 1, 0]),
    "padded in between": (padded(0, 0, 1), [1, 0, 1, 0, 1]),
    "a column of ones": (
        lambda x: jnp.concatenate([x, jnp.ones((2, 1))], axis=1),
        [1, 1, 1, 0],
    ),
    "written into zeros": (lambda x: jnp.zeros((2, 4)).at[:, :3].set(x), [1, 1, 1, 0]),
    "padded, then moved and rectified": (
        lambda x: jnp.maximum(padded(1, 0)(x)[:, ::-1], 0.0),
        [1, 1, 1, 0],
    ),
    "masked": (lambda x: x * jnp.array([[1.0, 0.0, 1.0]]), [1, 0, 1]),
}


def entries(fn):
    """What is said of the last value of a function."""
    graph = trace(lambda w, x: fn(x), None, X)
    (output,) = graph.program.outputs
    return active_entries(graph.flows[graph.program], output)


@pytest.mark.parametrize("name", JOINED)
def test_constants_that_are_joined_to_an_activation_are_told(name):
    fn, expected = JOINED[name]
    np.testing.assert_array_equal(entries(fn), np.stack([expected] * 2))


@pytest.mark.parametrize("fn", [jnp.sin, padded(0, 0), padded(0, -1), jnp.fliplr])
def test_where_nothing_is_joined_all_entries_are_active(fn):
    assert entries(fn) is None
