"""Memory under `jit` is that of the points which are computed at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import (
    blur_integrated_gradients,
    expected_gradients,
    gradient,
    idgi,
    integrated_gradients,
    shapley,
    smooth,
)
from jaxinterp.loop import chunks
from tests.compiled import optimized
from tests.few import few

RNG = np.random.default_rng(0)
WEIGHTS = tuple(jnp.asarray(RNG.normal(size=(3, 3, n, 8)), jnp.float32) for n in (2, 8))
X = jnp.asarray(RNG.normal(size=(2, 16, 16, 2)), jnp.float32)
TARGET = jnp.array([1, 3])
KEY = jax.random.key(0)
HALVES = np.repeat([[0], [1]], 8, axis=0) + np.zeros((1, 16), int)


def network(weights, x):
    for kernel in weights:
        axes = ("NHWC", "HWIO", "NHWC")
        x = jnp.tanh(
            jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=axes
            )
        )
    return x.mean((1, 2))


METHODS = {
    "integrated_gradients": lambda points, batch_size: integrated_gradients(
        network, steps=points, batch_size=batch_size
    ),
    "integrated_gradients at a site": lambda points, batch_size: integrated_gradients(
        network, steps=points, batch_size=batch_size, at="tanh"
    ),
    # It has a score at both ends of all steps.
    "idgi": lambda points, batch_size: idgi(
        network, steps=points - 1, batch_size=batch_size
    ),
    "blur_integrated_gradients": lambda points, batch_size: blur_integrated_gradients(
        network, steps=points, batch_size=batch_size
    ),
    "smooth": lambda points, batch_size: smooth(
        gradient(network), samples=points, batch_size=batch_size
    ),
    "expected_gradients": lambda points, batch_size: expected_gradients(
        network, background=X, samples=points, batch_size=batch_size
    ),
    # Of two segments each order has one coalition, besides none and all of them.
    "shapley": lambda points, batch_size: shapley(
        network, segments=HALVES, samples=points - 2, batch_size=batch_size
    ),
}

every_method = pytest.mark.parametrize(
    "method",
    few(METHODS, {"integrated_gradients"}, reason="a sum that runs in the same way"),
)


def memory(method, points, batch_size=None):
    attribute = optimized(METHODS[method](points, batch_size))
    program = attribute.lower(WEIGHTS, X, TARGET, KEY).compile()
    return program.memory_analysis().temp_size_in_bytes


@every_method
def test_it_falls_with_the_batch_size_and_does_not_grow_with_the_points(method):
    few, many = memory(method, 4, 2), memory(method, 40, 2)
    assert many < 1.1 * few
    assert many < memory(method, 40, 10) / 2 < memory(method, 40, 40) / 4


@every_method
def test_by_default_it_is_that_of_a_budget(method, monkeypatch):
    explained = X.nbytes * (4 if method.endswith("site") else 1)  # 8 channels for 2
    monkeypatch.setattr(chunks, "BUDGET", 2 * explained)
    assert memory(method, 40) == memory(method, 40, 2)
    monkeypatch.setattr(chunks, "BUDGET", 40 * explained)
    assert memory(method, 40) == memory(method, 40, 40)
