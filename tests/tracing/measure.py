"""What rules would see of the sites of a model, read off in one backward pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.with_rules import Meter, rule_changes
from tests.compiled import compiled


def measure(
    apply_fn: Any,
    variables: Any,
    x: Any,
    gauge: Callable[[Layer, Any, tuple[Any, ...]], Any],
    size: int,
) -> dict[str, np.ndarray]:
    """Returns what `gauge` says of each affine site, by address.

    Args:
        apply_fn: the model.
        variables: its weights.
        x: a batch.
        gauge: from a layer, a random cotangent of its output, and its pull-back, an
            array of length `size`.
        size: how many numbers that is.
    """
    addresses: list[str] = []

    def readings(variables: Any, x: Any) -> Any:
        traced = trace_call(apply_fn, variables, x)
        nodes = [n for n in traced.graph if n.kernel is not None or n.role == "scale"]
        addresses[:] = [node.address for node in nodes]
        meters = [Meter(n.flow.program, (size,), jnp.float64) for n in nodes]
        changes = rule_changes(
            dict.fromkeys(nodes),
            dict(zip(nodes, meters, strict=True)),
            lambda _, layer, relevance, received: gauge(layer, relevance, received),
        )

        def run(probes: list[Any]) -> Any:
            return traced.run(changes, dict(zip(meters, probes, strict=True)))[0]

        outputs, pull = jax.vjp(run, [jnp.zeros(size)] * len(nodes))
        key = jax.random.key(0)
        seed = jax.tree.map(lambda y: jax.random.normal(key, y.shape, y.dtype), outputs)
        return pull(seed)[0]

    values = compiled(readings)(variables, x)
    return {a: np.asarray(v) for a, v in zip(addresses, values, strict=True)}
