"""The values of a step at many points, however they are computed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.stacked import stacked
from tests.compiled import compiled
from tests.loop.test_sums import has_loop

RNG = np.random.default_rng(0)
CONTEXT = {"scale": RNG.normal(size=3), "power": 2}


def step(context, point):
    value = jnp.tanh(context["scale"] * point["x"]) ** context["power"]
    return {"value": value, "largest": value.max()}


def points(count):
    return {"x": RNG.normal(size=(count, 3)), "unused": np.arange(count)}


@pytest.mark.parametrize("count", [1, 2, 7, 8])
@pytest.mark.parametrize("batch_size", [None, 1, 3, 50])
def test_it_is_the_step_at_each_point(count, batch_size):
    batch = points(count)
    expected = np.tanh(CONTEXT["scale"] * batch["x"]) ** 2
    values_at = stacked(step, batch_size=batch_size)
    for run in (values_at, compiled(lambda p: values_at(CONTEXT, p))):
        actual = run(CONTEXT, batch) if run is values_at else run(batch)
        np.testing.assert_allclose(actual["value"], expected, rtol=1e-12)
        np.testing.assert_allclose(actual["largest"], expected.max(axis=1), rtol=1e-12)


def test_inside_of_jit_several_chunks_are_a_scan_and_one_is_none():
    assert has_loop(lambda p: stacked(step, batch_size=2)(CONTEXT, p), points(3))
    assert not has_loop(lambda p: stacked(step, batch_size=3)(CONTEXT, p), points(3))


def test_called_eagerly_it_compiles_one_step():
    @chex.assert_max_traces(n=1)
    def compiled_step(context, point):
        assert isinstance(point["x"], jax.core.Tracer)
        return step(context, point)

    values_at = stacked(compiled_step, batch_size=2)
    for count in (4, 7):
        assert values_at(CONTEXT, points(count))["value"].shape == (count, 3)


def test_one_point_at_a_time_is_not_mapped():
    def unmapped(context, point):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), float), point)

    values = stacked(unmapped, batch_size=1)(None, np.arange(3.0))
    np.testing.assert_allclose(values, np.sin(np.arange(3.0)), rtol=1e-12)


def test_large_inputs_are_taken_a_few_at_a_time():
    sizes = []

    def step(context, point):
        sizes.append(point)
        return point

    stacked(step)(None, jnp.arange(10), jax.ShapeDtypeStruct((4_000_000,), "int8"))
    stacked(step)(None, jnp.arange(10), jax.ShapeDtypeStruct((40_000_000,), "int8"))
    assert [tracer.aval.shape for tracer in sizes] == [(), ()]


def test_a_batch_size_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="curve: `batch_size` must be an integer"):
        stacked(step, batch_size=0, name="curve")
