"""The one place that decides how a long loop runs: the decision changes no result."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import primitives as p

from jaxinterp.loop.progress import FEWEST_STEPS
from jaxinterp.loop.sums import UNROLL_LIMIT, summed
from tests.compiled import compiled

RNG = np.random.default_rng(0)
CONTEXT = {"scale": RNG.normal(size=3), "shift": 0.5}


def points(count):
    return {"x": RNG.normal(size=(count, 3)), "weight": RNG.normal(size=count)}


def step(context, point):
    value = jnp.tanh(context["scale"] * point["x"]) + context["shift"]
    return {"weighted": point["weight"] * value, "largest": value.max()}


def by_hand(context, points):
    total = {"weighted": np.zeros(3), "largest": 0.0}
    for x, weight in zip(points["x"], points["weight"], strict=True):
        value = np.tanh(context["scale"] * x) + context["shift"]
        total["weighted"] += weight * value
        total["largest"] += value.max()
    return total


def has_loop(fn, *args):
    """Whether a jitted function holds a `scan`, at any depth."""

    def search(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive is p.scan_p:
                return True
            bodies = [v for v in equation.params.values() if hasattr(v, "eqns")]
            bodies += [v.jaxpr for v in equation.params.values() if hasattr(v, "jaxpr")]
            if any(map(search, bodies)):
                return True
        return False

    return search(jax.make_jaxpr(fn)(*args).jaxpr)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 20])
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 8, 50])
def test_it_is_the_sum_however_it_runs(count, batch_size):
    sum_over = summed(step, batch_size=batch_size)
    batch = points(count)
    expected = by_hand(CONTEXT, batch)
    for run in (sum_over, compiled(sum_over)):
        actual = run(CONTEXT, batch)
        for key, value in expected.items():
            np.testing.assert_allclose(actual[key], value, rtol=1e-12)


def test_few_iterations_are_written_out_and_many_are_a_scan_under_jit():
    sum_over = summed(step, batch_size=1)
    assert not has_loop(sum_over, CONTEXT, points(UNROLL_LIMIT))
    assert has_loop(sum_over, CONTEXT, points(UNROLL_LIMIT + 1))
    assert not has_loop(summed(step), CONTEXT, points(1000))


def test_called_eagerly_it_is_a_host_loop_over_one_compiled_step():
    @chex.assert_max_traces(n=1)
    def compiled_step(context, point):
        assert isinstance(point["weight"], jax.core.Tracer)
        return step(context, point)

    sum_over = summed(compiled_step, batch_size=2)
    for n_points in (30, 30, 28):
        sum_over(CONTEXT, points(n_points))


def test_what_fills_the_last_chunk_does_not_count():
    """Not even where it is infinite: it is chosen away, not multiplied by zero."""
    sum_over = summed(lambda _, x: 1 / x, batch_size=4)
    assert sum_over(None, jnp.array([0.0, 1.0, 1.0, 1.0, 2.0])) == np.inf
    sum_over = summed(lambda _, x: x, batch_size=4)
    assert sum_over(None, jnp.ones(5)) == 5


@pytest.mark.parametrize("count", [5, 20])
def test_it_can_be_differentiated_and_mapped(count):
    batch = points(count)

    def loss(scale, batch_size):
        sum_over = summed(step, batch_size=batch_size)
        total = sum_over(CONTEXT | {"scale": scale}, batch)
        return jnp.sum(total["weighted"] ** 2)

    scale = jnp.asarray(CONTEXT["scale"])
    expected = jax.grad(loss)(scale, None)
    np.testing.assert_allclose(jax.grad(loss)(scale, 2), expected, rtol=1e-10)
    mapped = jax.vmap(lambda s: loss(s, 2))(jnp.stack([scale, 2 * scale]))
    each = [loss(scale, None), loss(2 * scale, None)]
    np.testing.assert_allclose(mapped, each, rtol=1e-10)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_chunk_holds_something(batch_size):
    with pytest.raises(ValueError, match=f"at least 1, and is {batch_size}"):
        summed(step, batch_size=batch_size)


@pytest.mark.parametrize(
    ("count", "name", "is_shown"),
    [
        (FEWEST_STEPS, "smoothing", True),
        (FEWEST_STEPS - 1, "smoothing", False),
        (FEWEST_STEPS, "", False),
    ],
)
def test_long_loops_show_their_progress(count, name, is_shown, capsys):
    summed(step, batch_size=1, name=name)(CONTEXT, points(count))
    shown = capsys.readouterr().err
    assert ("smoothing" in shown) == is_shown
    assert (f"{count}/{count}" in shown) == is_shown


def test_a_sum_of_small_numbers_in_half_precision_does_not_depend_on_the_chunks():
    ones = jnp.ones(1000, jnp.bfloat16)
    for batch_size in (None, 1, 16, 300):
        run = summed(lambda _, x: x, batch_size=batch_size)
        assert float(run(None, ones)) == 1000
        assert float(jax.jit(lambda x, run=run: run(None, x))(ones)) == 1000


def test_integers_and_flags_are_counted():
    run = summed(lambda _, x: (x > 2, x), batch_size=2)
    flags, total = run(None, jnp.arange(5))
    assert (int(flags), int(total)) == (2, 10)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_the_dtype_is_kept(dtype, batch_size):
    sum_over = summed(lambda _, x: x, batch_size=batch_size)
    for run in (sum_over, compiled(sum_over)):
        assert run(None, jnp.ones(12, dtype)).dtype == dtype


class Box:
    """Something that JAX does not know to hold an array."""

    def __init__(self, value):
        self.value = value


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same, with a hash that its array does not have."""

    value: jax.Array


@pytest.mark.parametrize("count", [2, 12])
@pytest.mark.parametrize("kind", [Box, Pair])
def test_what_holds_arrays_unknown_to_jax_is_read_at_each_call(kind, count):
    sum_over = summed(lambda box, x: box.value * x, batch_size=1)
    box = kind(jnp.asarray(2.0))
    assert sum_over(box, jnp.ones(count)) == 2 * count
    object.__setattr__(box, "value", jnp.asarray(3.0))
    assert sum_over(box, jnp.ones(count)) == 3 * count
    assert compiled(lambda x: sum_over(box, x))(jnp.ones(count)) == 3 * count
