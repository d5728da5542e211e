"""What is asked of every metric, in one table.

A metric that `jaxinterp.metrics` exports and that is missing here fails the suite.
Examples are independent, jit agrees with eager and does not trace twice, chunks change
nothing, values are float32 at least, and the laws hold that relate one call to another.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import metrics
from jaxinterp.attribution import gradient, smooth
from jaxinterp.metrics import (
    convergence_delta,
    deletion,
    insertion,
    parameter_randomization,
    perturbation_curve,
    sensitivity,
)
from jaxinterp.objectives import logit
from tests.compiled import compiled
from tests.few import few
from tests.networks import functions as models
from tests.networks.architectures import as_dtype

EXAMPLES = models.BATCH
KEY = jax.random.key(5)
TARGET = models.targets()
LAYERS, VECTORS = models.mlp_weights(), models.vectors()


def two_inputs(layers, x):
    """Returns logits of an image and a vector."""
    image = jnp.tanh(x["image"].mean(axis=(1, 2)))
    return models.smooth_mlp(layers, x["vector"] + image[:, :1] * image[:, 1:])


IMAGES = models.normal(31, EXAMPLES, 2, 3, 6)
X = {"image": IMAGES, "unused": models.normal(32, EXAMPLES, 2), "vector": VECTORS}
ATTRIBUTIONS = jax.tree.map(np.sin, X)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric with hyperparameters, as a function of the model alone.

    Attributes:
        of: the exported function that it stands for.
        make: returns the measure of a model; it takes `score` as well.
        chunked: the same with small chunks, where it has any.
        is_scale_free: whether attributions that are multiplied by a positive number
            have the same value.
        is_shift_free: whether attributions to which a number is added have.
        with_score: what a constant that is added to the score does: it is added to the
            value, or changes nothing.
        is_random: whether the key changes the value.
    """

    of: Callable[..., Any]
    make: Callable[..., Any]
    chunked: Callable[..., Any] | None = None
    is_scale_free: bool = True
    is_shift_free: bool = True
    with_score: str = "unchanged"
    is_random: bool = False


def curve(**options):
    return functools.partial(perturbation_curve, steps=4, **{"score": logit} | options)


def small(metric):
    return functools.partial(metric, steps=3, score=logit, baseline=0.2)


def steady(**options):
    def make(f, **own):
        return sensitivity(gradient(f, **own), samples=3, radius=0.1, **options)

    return make


def climbing(f, **own):
    noisy = smooth(gradient(f, **own), samples=2)
    return sensitivity(noisy, samples=1, steps=2, is_relative=False)


def forgetful(order):
    def make(f, **own):
        def init(key):
            flat, unravel = jax.flatten_util.ravel_pytree(LAYERS)
            return unravel(jax.random.normal(key, flat.shape))

        attribute = gradient(f, **own)
        return parameter_randomization(
            f, attribution_fn=attribute, init=init, order=order
        )

    return make


METRICS = {
    "convergence_delta": Metric(
        convergence_delta,
        convergence_delta,
        is_scale_free=False,
        is_shift_free=False,
    ),
    "convergence_delta of a baseline": Metric(
        convergence_delta,
        functools.partial(convergence_delta, baseline=0.1),
        is_scale_free=False,
        is_shift_free=False,
    ),
    "perturbation_curve": Metric(
        perturbation_curve, curve(), curve(batch_size=2), with_score="added"
    ),
    "perturbation_curve of insertions": Metric(
        perturbation_curve,
        curve(mode="insert", order="lerf", segments=None),
        curve(mode="insert", order="lerf", segments=None, batch_size=1),
        with_score="added",
    ),
    "deletion": Metric(deletion, small(deletion), with_score="added"),
    "insertion": Metric(insertion, small(insertion), with_score="added"),
    "sensitivity": Metric(
        sensitivity,
        steady(),
        steady(batch_size=2),
        is_scale_free=False,
        is_shift_free=False,
        is_random=True,
    ),
    "sensitivity that climbs": Metric(
        sensitivity, climbing, None, False, False, is_random=True
    ),
    "parameter_randomization": Metric(
        parameter_randomization, forgetful("top_down"), is_random=True
    ),
    "parameter_randomization of each": Metric(
        parameter_randomization, forgetful("independent"), is_random=True
    ),
}
SETTINGS = {
    "convergence_delta of a baseline",
    "perturbation_curve of insertions",
    "deletion",
    "insertion",
    "sensitivity that climbs",
    "parameter_randomization of each",
}
setting = pytest.mark.slow(reason="another setting of a metric of the table")
every_metric = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[setting] if n in SETTINGS else []) for n in METRICS],
)
# Where one program of each kind says enough: that of randomized layers takes seconds.
most_metrics = pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[setting] if n in SETTINGS or "random" in n else [])
        for n in METRICS
    ],
)


def is_metric(value: Any) -> bool:
    """Whether a function takes a model or an attribution and returns a measure."""
    if not inspect.isfunction(value):
        return False
    signature = inspect.signature(value)
    return (
        next(iter(signature.parameters), "") in ("apply_fn", "attribution_fn")
        and signature.return_annotation == "Measure"
    )


def last(values):
    """The values that tell examples apart, `(batch, ...)`."""
    return np.asarray(jax.tree.leaves(values)[-1])


def taken(tree, rows):
    """The examples of some rows."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], tree)


def test_every_exported_metric_is_in_the_table():
    exported = {value for value in vars(metrics).values() if is_metric(value)}
    assert exported == {metric.of for metric in METRICS.values()}


@every_metric
def test_it_has_the_signature_of_a_metric(name):
    _, *rest = inspect.signature(METRICS[name].of).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    measure = METRICS[name].make(models.smooth_mlp)
    assert isinstance(measure, metrics.Measure)
    expected = ["variables", "inputs", "attributions", "target", "key"]
    assert list(inspect.signature(measure).parameters) == expected


@every_metric
def test_a_batch_is_a_loop_in_one_program_that_agrees_with_eager(name):
    measured = METRICS[name].make(two_inputs)
    measure = compiled(chex.assert_max_traces(measured, n=2))  # a batch, one example
    whole = measure(LAYERS, X, ATTRIBUTIONS, TARGET, KEY)
    before = jax.tree.map(np.copy, (X, ATTRIBUTIONS))
    eager = measured(LAYERS, X, ATTRIBUTIONS, TARGET, KEY)
    chex.assert_trees_all_equal((X, ATTRIBUTIONS), before)
    chex.assert_trees_all_close(whole, eager, rtol=1e-9)
    measure(LAYERS, X, ATTRIBUTIONS, TARGET[::-1].copy(), jax.random.key(6))
    for leaf in jax.tree.leaves(whole):
        assert leaf.shape[0] == EXAMPLES
    rows = []
    for i in range(EXAMPLES):
        x, a, t = taken((X, ATTRIBUTIONS, TARGET), slice(i, i + 1))
        rows.append(measure(LAYERS, x, a, t, KEY))
    stacked = jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
    chex.assert_trees_all_close(whole, stacked, rtol=1e-9)
    values = [np.reshape(leaf, (EXAMPLES, -1)) for leaf in jax.tree.leaves(whole)]
    assert len(np.unique(np.concatenate(values, axis=1), axis=0)) == EXAMPLES
    for order in ([2, 0, 1], [1, 1, 0]):  # examples may be moved, and may be twice
        x, a, t = taken((X, ATTRIBUTIONS, TARGET), order)
        moved = measure(LAYERS, x, a, t, KEY)
        chex.assert_trees_all_close(moved, taken(whole, order), rtol=1e-9)


@pytest.mark.parametrize(
    "name",
    few(
        [n for n, m in METRICS.items() if m.chunked],
        ["perturbation_curve", "sensitivity"],
        reason="another setting of a metric of the table",
    ),
)
def test_chunks_change_nothing(name):
    arguments = (LAYERS, VECTORS, np.sin(VECTORS))
    whole = compiled(METRICS[name].make(models.smooth_mlp))(*arguments, TARGET, KEY)
    chunked = METRICS[name].chunked(models.smooth_mlp)
    for run in (chunked, compiled(chunked)):
        chex.assert_trees_all_close(run(*arguments, TARGET, KEY), whole, rtol=1e-9)


@every_metric
def test_values_are_in_single_precision_at_least(name):
    measured = METRICS[name].make(models.smooth_mlp)
    arrays = jax.tree.map(jnp.asarray, (LAYERS, VECTORS))
    for dtype in (jnp.float16, jnp.float32):
        variables, x = as_dtype(arrays, dtype)
        values = jax.eval_shape(measured, variables, x, jnp.sin(x), TARGET, KEY)
        chex.assert_type(jax.tree.leaves(values), jnp.float32)
    variables, x = as_dtype(arrays, jnp.bfloat16)  # it rounds earlier
    values = compiled(measured)(variables, x, jnp.sin(x), TARGET, KEY)
    chex.assert_type(jax.tree.leaves(values), jnp.float32)
    chex.assert_tree_all_finite(values)


@most_metrics
def test_it_maps_over_attributions(name):
    measure = METRICS[name].make(models.smooth_mlp)
    x = VECTORS
    several = np.stack([np.sin(x), np.cos(x)])
    mapped = compiled(jax.vmap(measure, in_axes=(None, None, 0, None, None)))
    alone = compiled(measure)
    each = [alone(LAYERS, x, a, TARGET, KEY) for a in several]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    ours = mapped(LAYERS, x, several, TARGET, KEY)
    chex.assert_trees_all_close(ours, stacked, rtol=1e-9)


@most_metrics
def test_it_measures_what_an_objective_says(name):
    """The channel of a model that returns it is what the model's outputs are."""
    x, a = VECTORS, np.sin(VECTORS)
    measure = compiled(METRICS[name].make(models.smooth_mlp))
    ours = measure(LAYERS, x, a, TARGET * 0 + 2, KEY)
    named = compiled(METRICS[name].make(models.smooth_mlp, score=":2"))
    chex.assert_trees_all_close(named(LAYERS, x, a, None, KEY), ours, rtol=1e-9)


@every_metric
def test_the_laws_that_relate_one_call_to_another(name):
    metric = METRICS[name]
    variables, x = LAYERS, VECTORS
    attributions = np.sin(x)
    measure = compiled(metric.make(models.smooth_mlp))
    value = measure(variables, x, attributions, TARGET, KEY)

    def is_the_same(other):
        return all(
            np.allclose(a, b, rtol=1e-9, atol=1e-12)
            for a, b in zip(*map(jax.tree.leaves, (value, other)), strict=True)
        )

    scaled = measure(variables, x, 3.7 * attributions, TARGET, KEY)
    assert is_the_same(scaled) is metric.is_scale_free
    shifted = measure(variables, x, attributions + 0.4, TARGET, KEY)
    assert is_the_same(shifted) is metric.is_shift_free
    assert is_the_same(measure(variables, x, attributions, TARGET, KEY))
    other = measure(variables, x, attributions, TARGET, jax.random.key(6))
    assert is_the_same(other) is not metric.is_random
    # A constant on all logits changes no attribution; what is randomized keeps it.
    if metric.of is not parameter_randomization:
        higher = [*variables[:-1], variables[-1] | {"b": variables[-1]["b"] + 2.5}]
        raised = measure(higher, x, attributions, TARGET, KEY)
        expected = 2.5 if metric.with_score == "added" else 0
        np.testing.assert_allclose(last(raised) - last(value), expected, atol=1e-9)


@most_metrics
def test_no_examples_have_no_values(name):
    measure = METRICS[name].make(models.smooth_mlp)
    x = VECTORS[:0]
    values = jax.eval_shape(measure, LAYERS, x, np.sin(x), TARGET[:0], KEY)
    assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(values))


@every_metric
def test_attributions_of_another_batch_are_an_error(name):
    measure = METRICS[name].make(two_inputs)
    fewer = jax.tree.map(lambda leaf: leaf[:2], ATTRIBUTIONS)
    message = r"`attributions\['image'\]` is float64\[2, 2, 3, 6\].*each of 3 examples"
    with pytest.raises(ValueError, match=message):
        measure(LAYERS, X, fewer, TARGET, KEY)
    with pytest.raises(ValueError, match=r"`attributions` is float64\[\], and has"):
        measure(LAYERS, X, np.float64(1.0), TARGET, KEY)
    message = (
        r"`attributions` is int64\[3\].*\nWrite `measure\(variables, inputs, attri"
    )
    with pytest.raises(ValueError, match=message):
        measure(LAYERS, X, TARGET)
