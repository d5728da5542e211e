"""The one place that decides how a long loop runs: the decision changes no result."""

import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import primitives as p

from jaxinterp.loop import chunks
from jaxinterp.loop.progress import FEWEST_STEPS
from jaxinterp.loop.sums import evaluated, summed
from tests.compiled import compiled, optimized
from tests.few import few

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


@pytest.mark.parametrize("count", [1, 7, 20])
@pytest.mark.parametrize("batch_size", [None, 1, 3, 8, 50])
def test_values_are_kept_in_order_however_they_are_computed(count, batch_size):
    values_at = evaluated(step, batch_size=batch_size)
    batch = points(count)
    one = [jax.tree.map(lambda leaf, k=k: leaf[k], batch) for k in range(count)]
    expected = [step(CONTEXT, point) for point in one]
    for run in (values_at, compiled(values_at)):
        actual = run(CONTEXT, batch)
        for key in ("weighted", "largest"):
            rows = np.stack([value[key] for value in expected])
            np.testing.assert_allclose(actual[key], rows, rtol=1e-12)


def test_values_can_be_differentiated_and_mapped():
    batch = points(7)

    def loss(scale, batch_size):
        values_at = evaluated(step, batch_size=batch_size)
        values = values_at(CONTEXT | {"scale": scale}, batch)
        return jnp.sum(values["weighted"] ** 2)

    scale = jnp.asarray(CONTEXT["scale"])
    expected = jax.grad(loss)(scale, None)
    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss), static_argnums=1)):
        np.testing.assert_allclose(gradient(scale, 2), expected, rtol=1e-10)
    mapped = jax.vmap(lambda s: loss(s, 2))(jnp.stack([scale, 2 * scale]))
    each = [loss(scale, None), loss(2 * scale, None)]
    np.testing.assert_allclose(mapped, each, rtol=1e-10)
    assert has_loop(evaluated(step, batch_size=2), CONTEXT, batch)
    assert not has_loop(evaluated(step), CONTEXT, batch)


def test_one_point_at_a_time_is_not_mapped():
    def callback(context, point):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), float), point)

    numbers = np.arange(3.0)
    for run in (values_at := evaluated(callback, batch_size=1), compiled(values_at)):
        np.testing.assert_allclose(run(None, numbers), np.sin(numbers), rtol=1e-12)
    empty = compiled(evaluated(lambda x, k: x * k, batch_size=1))
    assert empty(np.ones((0, 2)), numbers).shape == (3, 0, 2)


def test_inside_of_jit_several_chunks_are_a_scan_and_one_is_none():
    assert has_loop(summed(step, batch_size=2), CONTEXT, points(3))
    assert not has_loop(summed(step, batch_size=3), CONTEXT, points(3))
    assert not has_loop(summed(step), CONTEXT, points(1000))


def test_called_eagerly_it_is_a_host_loop_over_one_compiled_step():
    @chex.assert_max_traces(n=1)
    def compiled_step(context, point):
        assert isinstance(point["weight"], jax.core.Tracer)
        return step(context, point)

    sum_over = summed(compiled_step, batch_size=2)
    for n_points in (30, 30, 28):
        sum_over(CONTEXT, points(n_points))


@pytest.mark.parametrize("transform", [jax.grad, jax.vmap, jax.hessian])
def test_transformed_eagerly_it_compiles_no_more_for_more_points(transform):
    sum_over = summed(lambda scale, x: jnp.tanh(scale * x).sum(), batch_size=2)
    scale = jnp.ones((3, 3) if transform is jax.vmap else 3)

    def run(count):
        transform(lambda s: sum_over(s, points(count)["x"]))(scale)

    run(6)
    compilations = []

    def note(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(seconds)

    for count in (20, 40):  # of each, the points are put into chunks anew
        compilations.clear()
        jax.monitoring.register_event_duration_secs_listener(note)
        try:
            run(count)
        finally:
            jax.monitoring.unregister_event_duration_listener(note)
        assert len(compilations) <= 10


def test_by_default_so_many_points_are_taken_as_inputs_fit_a_budget(monkeypatch):
    monkeypatch.setattr(chunks, "BUDGET", 100)
    sizes = []

    def run(n_points, inputs=None):
        sum_over = summed(lambda scale, x: scale * x)
        program = jax.make_jaxpr(sum_over)(1.0, jnp.ones(n_points), inputs)
        scans = [e for e in program.jaxpr.eqns if e.primitive is p.scan_p]
        sizes.append([e.params["length"] for e in scans])

    run(12)  # 8 bytes for each point: 12 of them fit
    run(13)
    run(12, jnp.ones(3))  # 4 of them
    run(12, {"a": jnp.ones(3), "b": jnp.ones(99)})  # one does not fit
    run(10, jnp.ones(3, jnp.float32))  # 8 would fit, 5 and 5 are even
    assert sizes == [[], [2], [3], [12], [2]]


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


WEIGHTS = (RNG.normal(size=(3, 3, 2, 8)), RNG.normal(size=(3, 3, 8, 8)))


def network(x):
    for weights in WEIGHTS:
        kernel = jnp.asarray(weights, x.dtype)
        axes = ("NHWC", "HWIO", "NHWC")
        x = jnp.tanh(
            jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=axes
            )
        )
    return x.sum()


def convolved(x, t):
    return jax.grad(network)(t * x)


def squares(sum_over):
    return lambda x, t: (sum_over(x, t) ** 2).sum()


TRANSFORMS = {
    "none": lambda sum_over: sum_over,
    "grad": lambda sum_over: jax.grad(squares(sum_over)),
    "grad of jit": lambda sum_over: jax.grad(jax.jit(squares(sum_over))),
    "vmap": lambda sum_over: jax.vmap(sum_over, in_axes=(None, 0)),
}


def program(kind, batch_size, count):
    x = jnp.asarray(RNG.normal(size=(1, 16, 16, 2)), jnp.float32)
    t = jnp.linspace(0.5, 1, count, dtype=jnp.float32)
    t = jnp.stack([t, -t]) if kind == "vmap" else t
    sum_over = summed(convolved, batch_size=batch_size)
    return optimized(TRANSFORMS[kind](sum_over)).lower(x, t).compile()


@pytest.mark.parametrize(
    "kind", few(TRANSFORMS, {"none", "grad"}, reason="each compiles three programs")
)
def test_memory_grows_with_a_chunk_and_not_with_the_number_of_points(kind):
    def memory(batch_size, count):
        analysis = program(kind, batch_size, count).memory_analysis()
        return analysis.temp_size_in_bytes

    one = memory(None, 2)
    for count in (4, 40):
        assert memory(2, count) < 1.5 * one
    assert memory(None, 16) > 6 * one


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_convolutions_in_the_loop_are_those_that_are_fast_on_cpu(kind):
    text = program(kind, 2, 6).as_text()
    assert " while(" in text
    labels = re.findall(r"dim_labels=(\S+?)[,\s]", text)
    assert len(labels) >= 3
    assert set(labels) == {"b01f_01io->b01f"}


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
