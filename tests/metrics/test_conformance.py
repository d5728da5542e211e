"""What is asked of every metric, in one table.

A metric that `jaxinterp.metrics` exports and that is missing here fails the suite.
Examples are independent, jit agrees with eager and does not trace twice, dtypes are
kept, and every example has its own value.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import metrics
from jaxinterp.metrics import convergence_delta
from tests.compiled import compiled, compiled_once
from tests.networks import functions as models
from tests.networks.architectures import as_dtype

EXAMPLES = models.BATCH
KEY = jax.random.key(5)
VARIABLES, X, TARGET = models.two_weights(), models.pair(), models.targets()
ATTRIBUTIONS = jax.tree.map(np.sin, X)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric with hyperparameters, as a function of the model alone.

    Attributes:
        of: the exported function that it stands for.
        make: returns the measure of a model; it takes `score` as well.
    """

    of: Callable[..., Any]
    make: Callable[..., Any]


METRICS = {
    "convergence_delta": Metric(convergence_delta, convergence_delta),
    "convergence_delta of a baseline": Metric(
        convergence_delta, functools.partial(convergence_delta, baseline=0.1)
    ),
}
every_metric = pytest.mark.parametrize("name", METRICS)


def is_metric(value: Any) -> bool:
    """Whether a function takes a model and returns a measure."""
    if not inspect.isfunction(value):
        return False
    signature = inspect.signature(value)
    return (
        next(iter(signature.parameters), "") == "apply_fn"
        and signature.return_annotation == "Measure"
    )


def test_every_exported_metric_is_in_the_table():
    exported = {value for value in vars(metrics).values() if is_metric(value)}
    assert exported == {metric.of for metric in METRICS.values()}


@every_metric
def test_it_has_the_signature_of_a_metric(name):
    _, *rest = inspect.signature(METRICS[name].of).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    measure = METRICS[name].make(models.cnn)
    assert isinstance(measure, metrics.Measure)
    expected = ["variables", "inputs", "attributions", "target", "key"]
    assert list(inspect.signature(measure).parameters) == expected


@every_metric
def test_a_batch_is_a_loop(name):
    measure = compiled(METRICS[name].make(models.two_inputs))
    whole = measure(VARIABLES, X, ATTRIBUTIONS, TARGET, KEY)
    chex.assert_shape(whole, (EXAMPLES,))
    rows = []
    for i in range(EXAMPLES):
        one = slice(i, i + 1)
        x, a = jax.tree.map(lambda leaf, one=one: leaf[one], (X, ATTRIBUTIONS))
        rows.append(measure(VARIABLES, x, a, TARGET[one], KEY))
    chex.assert_trees_all_close(whole, np.concatenate(rows), rtol=1e-9)
    assert len(set(np.asarray(whole).tolist())) == EXAMPLES


@every_metric
def test_jit_equals_eager_and_the_second_call_does_not_trace(name):
    measure = METRICS[name].make(models.two_inputs)
    jitted = compiled_once(measure)
    ours = jitted(VARIABLES, X, ATTRIBUTIONS, TARGET, KEY)
    eager = measure(VARIABLES, X, ATTRIBUTIONS, TARGET, KEY)
    chex.assert_trees_all_close(ours, eager, rtol=1e-9)
    more = jax.tree.map(lambda leaf: leaf + 0.01, X)
    other_key = jax.random.key(6)
    jitted(VARIABLES, more, ATTRIBUTIONS, TARGET[::-1].copy(), other_key)


@every_metric
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(name, dtype):
    arrays = jax.tree.map(jnp.asarray, (models.cnn_weights(), models.images()))
    variables, x = as_dtype(arrays, dtype)
    measure = compiled(METRICS[name].make(models.cnn))
    values = measure(variables, x, jnp.sin(x), TARGET, KEY)
    chex.assert_shape(values, (EXAMPLES,))
    chex.assert_type(values, dtype)
    chex.assert_tree_all_finite(values)


@every_metric
def test_it_maps_over_attributions(name):
    measure = METRICS[name].make(models.cnn)
    variables, x = models.cnn_weights(), models.images()
    several = np.stack([np.sin(x), np.cos(x)])
    mapped = compiled(jax.vmap(measure, in_axes=(None, None, 0, None, None)))
    each = [measure(variables, x, a, TARGET, KEY) for a in several]
    chex.assert_trees_all_close(
        mapped(variables, x, several, TARGET, KEY), np.stack(each), rtol=1e-9
    )


@every_metric
def test_it_measures_what_an_objective_says(name):
    """The channel of a model that returns it is what the model's outputs are."""
    variables, x = models.mlp_weights(), models.vectors()
    last = METRICS[name].make(models.mlp)(variables, x, np.sin(x), TARGET * 0 + 2, KEY)
    named = METRICS[name].make(models.mlp, score=":2")
    chex.assert_trees_all_close(
        named(variables, x, np.sin(x), None, KEY), last, rtol=1e-12
    )


@every_metric
def test_attributions_of_another_batch_are_an_error(name):
    measure = METRICS[name].make(models.two_inputs)
    fewer = jax.tree.map(lambda leaf: leaf[:2], ATTRIBUTIONS)
    message = r"`attributions\['image'\]` is float64\[2, 6, 6, 2\].*each of 3 examples"
    with pytest.raises(ValueError, match=message):
        measure(VARIABLES, X, fewer, TARGET, KEY)
    with pytest.raises(ValueError, match=r"`attributions` is float64\[\], and has"):
        measure(VARIABLES, X, np.float64(1.0), TARGET, KEY)
    message = (
        r"`attributions` is int64\[3\].*\nWrite `measure\(variables, inputs, attri"
    )
    with pytest.raises(ValueError, match=message):
        measure(VARIABLES, X, TARGET)
