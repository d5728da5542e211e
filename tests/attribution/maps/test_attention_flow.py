"""The maximum flow through attention: augmenting paths, bounds, slopes, settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import attention_flow, attention_maps, attention_rollout
from tests.compiled import compiled
from tests.networks import functions as models

X = models.normal(1, 2, 5, 4)
WEIGHTS = models.normal(2, 3, 4, 4)
ROUNDED = 75 * 2.0**-30  # what rounding may add: the number of edges in units


def model(w, x):
    """Three layers of attention of two heads."""
    for kernel in w:
        y = (x @ kernel).reshape(*x.shape[:2], 2, 2)
        scores = 2 * jnp.einsum("bthd,bshd->bhts", y, y)
        mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), y)
        x = x + mixed.reshape(x.shape)
    return x[:, -1]


@functools.cache
def received():
    return np.asarray(compiled(attention_flow(model))(WEIGHTS, X))


def largest_flow(layers, target, source):
    """Paths from the target to the source, each filled up, until there is none."""
    room = {}
    for number, matrix in enumerate(layers):
        for u, v in np.ndindex(matrix.shape):
            room[(number + 1, u), (number, v)] = matrix[u, v]
            room[(number, v), (number + 1, u)] = 0.0
    start, end, flow = (len(layers), target), (0, source), 0.0
    while True:
        before, todo = {start: None}, [start]
        for node in todo:
            for (a, b), left in room.items():
                if a == node and left > 1e-14 and b not in before:
                    before[b] = a
                    todo.append(b)
        if end not in before:
            return flow
        path = [end]
        while path[-1] != start:
            path.append(before[path[-1]])
        edges = list(zip(path[1:], path[:-1], strict=True))
        most = min(room[edge] for edge in edges)
        for a, b in edges:
            room[a, b] -= most
            room[b, a] += most
        flow += most


def test_it_is_the_flow_that_paths_fill_up():
    maps = attention_maps(model)(WEIGHTS, X)
    layers = [np.asarray(each).mean(1) for each in maps.values()]
    for example, target, source in ((0, 4, 1), (0, 2, 2), (1, 0, 3), (1, 4, 0)):
        mixed = [0.5 * layer[example] + 0.5 * np.eye(5) for layer in layers]
        expected = largest_flow(mixed, target, source)
        assert received()[example, target, source] == pytest.approx(
            expected, abs=ROUNDED
        )


def test_it_is_no_less_than_what_the_rollout_multiplies_and_no_more_than_one():
    rollout = compiled(attention_rollout(model))(WEIGHTS, X)
    assert (received() >= rollout - ROUNDED).all()
    assert (received() > rollout + 0.01).any()
    assert received().max() <= 1 + 1e-12


def test_of_one_layer_it_is_the_rollout():
    flow = attention_flow(model, layers=1)(WEIGHTS, X)
    rollout = attention_rollout(model, layers=1)(WEIGHTS, X)
    np.testing.assert_allclose(flow, rollout, atol=ROUNDED)


def test_a_position_is_a_row_and_heads_and_norms_are_those_of_the_rollout():
    row = attention_flow(model, position=-2)(WEIGHTS, X)
    np.testing.assert_allclose(row, received()[:, 3], atol=1e-12)
    settings = {"layers": [2], "heads": 1, "weighting": "value_norms"}
    flow = attention_flow(model, **settings)(WEIGHTS, X)
    rollout = attention_rollout(model, **settings)(WEIGHTS, X)
    np.testing.assert_allclose(flow, rollout, atol=ROUNDED)
    with pytest.raises(ValueError, match="no position 5: there are 5"):
        attention_flow(model, position=5)(WEIGHTS, X)


def test_its_slope_is_that_of_the_narrowest_place():
    def flow(scale):
        return attention_flow(model, position=-1)(scale * WEIGHTS, X)[0, 1]

    step = 1e-4
    expected = (flow(1 + step) - flow(1 - step)) / (2 * step)
    assert jax.grad(flow)(1.0) == pytest.approx(float(expected), rel=1e-4)
    assert abs(expected) > 1e-3
