"""Which numbers are known of values that do not depend on the input."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import trace
from jaxinterp.tracing.facts.curve import POINTS, Curve, constant_number

X = np.ones((2, 3))
FACTORS = {
    "a literal": (lambda w: 2.0, 2.0),
    "computed": (lambda w: jnp.sqrt(jnp.full((1, 3), 4.0)) + 1.0, 3.0),
    "stacked": (lambda w: jnp.stack([jnp.float64(3.0)] * 3)[None], 3.0),
    "entries that differ": (lambda w: jnp.arange(3.0)[None], None),
    "a weight": (lambda w: w + 1.0, None),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_number_is_known_if_all_entries_are_it(name):
    factor, expected = FACTORS[name]
    graph = trace(lambda w, x: x * factor(w), np.ones((1, 3)), X)
    flow = graph.flows[graph.program]
    (product,) = [e for e in graph.program.equations if e.primitive.name == "mul"]
    (atom,) = [v for v in product.inputs if v not in flow.active]
    found = constant_number(flow, atom)
    assert (None if found is None else float(found)) == expected
    if name == "a weight":
        assert float(constant_number(flow, atom, 5.0)) == 6.0


def test_steps_and_affine_functions_are_no_activations():
    zero = np.zeros_like(POINTS)
    assert not Curve(np.sign(POINTS), zero).is_activation
    assert not Curve(2 * POINTS + 1, zero + 2).is_activation
    assert not Curve(zero, zero).is_activation
    assert Curve(np.maximum(POINTS, 0), np.heaviside(POINTS, 0)).is_activation
    assert Curve(np.tanh(POINTS), 1 / np.cosh(POINTS) ** 2).is_activation
