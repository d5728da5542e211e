"""Which numbers are known of values that do not depend on the input."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import trace
from jaxinterp.tracing.facts.curve import constant_number

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
