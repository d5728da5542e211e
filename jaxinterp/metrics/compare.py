"""Methods beside one another, and beside what knows nothing of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxinterp.attribution.contract import Attribution, check_target
from jaxinterp.checks import check_choice, check_function, check_outside
from jaxinterp.keys import check_key
from jaxinterp.loop.static import static_and_arrays
from jaxinterp.metrics.bootstrap import Interval, bootstrap
from jaxinterp.metrics.contract import Measure, own_key
from jaxinterp.metrics.references import at_random, edges, inverse
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.call import check_batch
from jaxinterp.types import Inputs, Key, Target, Variables

REFERENCES = ("inverse", "random", "edges")


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The metrics of several methods and references; it prints as a table.

    Attributes:
        methods: the names of the rows: methods, their inverses, `"random"`, `"edges"`.
        metrics: the names of the columns.
        values: the value of each example, `(examples, methods, metrics)`.
        interval: the mean over examples and its interval, each `(methods, metrics)`.
        difference: the same of the difference to `"random"`, example by example; `None`
            without that row.
        confidence: the share of such intervals that hold the true mean.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Any
    interval: Interval
    difference: Interval | None
    confidence: float

    def _is_unlike_random(self) -> np.ndarray:
        """Whether the difference to random has a sign, `(methods, metrics)`."""
        if self.difference is None:
            return np.zeros(self.interval.mean.shape, bool)
        return (self.difference.low > 0) | (self.difference.high < 0)

    def _cell(self, row: int, column: int) -> str:
        mean, low, high, n_valid = (part[row, column] for part in self.interval)
        text = cell(mean, ".3f", undefined="undefined")
        if not np.isnan(low):
            text += f" [{low:.3f}, {high:.3f}]"
        if self._is_unlike_random()[row, column]:
            text += "*"
        n_examples = len(self.values)
        return f"{text} n={n_valid}" if 0 < n_valid < n_examples else text

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        columns = range(len(self.metrics))
        rows = [
            (name, *(self._cell(i, j) for j in columns))
            for i, name in enumerate(self.methods)
        ]
        return ("method", *self.metrics), rows

    def _note(self) -> str:
        note = (
            f"Means over {len(self.values)} examples with {self.confidence:.0%} "
            "bootstrap intervals"
        )
        if self.difference is None:
            return f"{note}."
        return f"{note}; * where the difference to random has a sign."

    def __str__(self) -> str:
        return f"{format_table(*self._table())}\n{self._note()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{html_table(*self._table())}<p>{self._note()}</p>"


def compare(
    methods: Mapping[str, Attribution],
    metrics: Mapping[str, Measure],
    variables: Variables,
    inputs: Inputs,
    target: Target = None,
    *,
    key: Key,
    method_metrics: Mapping[str, Callable[[Attribution], Measure]] | None = None,
    references: Sequence[str] = REFERENCES,
    confidence: float = 0.95,
) -> Comparison:
    """Measures several attribution methods, and what knows nothing of the network.

    A metric alone says little: a network that fails on any deletion makes every method
    look good. So the table has rows for the inverse of each method, for random numbers
    and for the edges of the images, and marks what differs from random. Whether low or
    high is good stands in the documentation of each metric.

    Time is one explanation for each method, and that of each metric for each row.

    Args:
        methods: attribution functions by name.
        metrics: measures by name, of one value per example. Of a curve write
            `lambda *args: aopc(curve(*args))`, and of a mask
            `lambda v, x, a, t, k: relevance_mass(a.sum(-1), mask)`.
        variables: the weights of the model.
        inputs: the batch that is explained.
        target: what the score needs beside the outputs, such as class indices.
        key: the random key. Methods and measures get it as it is, so that a measure of
            a random method can draw what that drew.
        method_metrics: metrics of the method itself by name: functions from an
            attribution function to a measure, such as `sensitivity`.
        references: which rows are added: `"inverse"`, `"random"` and `"edges"`; the
            last of images `(batch, height, width, channels)` alone.
        confidence: the share of the intervals that hold the true mean.

    Returns:
        A printable `Comparison`.

    Raises:
        TypeError: if there is no key, if methods or metrics are no functions by name,
            or inside of `jax.jit`.
        ValueError: if there is no metric or no such reference, if two rows or columns
            have one name, if a measure returns something else than one value per
            example, or if the target does not fit.

    References:
        Hooker et al., 2019, on random rankings and edges [hooker2019benchmark].

    Example:
        >>> from jaxinterp.attribution import input_x_gradient
        >>> from jaxinterp.metrics import deletion, sensitivity
        >>> from jaxinterp.objectives import total
        >>> model = lambda w, x: x * w
        >>> methods = {"x * gradient": input_x_gradient(model, score=total)}
        >>> metrics = {"deletion": deletion(model, score=total)}
        >>> x, w = jax.random.normal(jax.random.key(1), (8, 5)), jnp.arange(1.0, 6.0)
        >>> table = compare(methods, metrics, w[None], x, key=jax.random.key(0),
        ...                 method_metrics={"sensitivity": sensitivity})
        >>> table.methods, table.metrics
        (('x * gradient', '-x * gradient', 'random'), ('deletion', 'sensitivity'))
    """
    check_outside("compare", "returns numbers to read", variables, inputs, target)
    check_key("compare", key)
    for name, functions in (("methods", methods), ("metrics", metrics)):
        _check_named(name, functions)
    _check_named("method_metrics", method_metrics or {})
    check_batch(inputs, variables)
    rows = _with_references(methods, references, inputs)
    of_method = dict(method_metrics or {})
    names = (*metrics, *of_method)
    if not names:
        raise ValueError(
            "compare() needs a metric, `{'deletion': deletion(apply_fn)}`, as "
            "`metrics` or `method_metrics`."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"Two metrics have one name: {', '.join(names)}.")
    n_examples = jax.tree.leaves(inputs)[0].shape[0]
    for method in methods.values():  # a compiled call hides the values of a target
        check_target(lambda x, m=method: m(variables, x, target, key), inputs, target)
    columns = []
    for method in rows.values():
        attributions = _jitted(method, variables, inputs, target, key)
        measures = dict(metrics) | {n: make(method) for n, make in of_method.items()}
        columns.append(
            [
                _checked(
                    measure(variables, inputs, attributions, target, key),
                    n_examples,
                    name,
                )
                for name, measure in measures.items()
            ]
        )
    values = np.moveaxis(np.array(columns), -1, 0)
    draws = own_key(key)
    difference = None
    if "random" in references:
        random = list(rows).index("random")
        paired = values - values[:, random : random + 1]
        difference = bootstrap(paired, draws, confidence=confidence)
    interval = bootstrap(values, draws, confidence=confidence)
    return Comparison(tuple(rows), names, values, interval, difference, confidence)


def _check_named(name: str, functions: Any) -> None:
    """Raises unless an argument is functions by name."""
    if not isinstance(functions, Mapping):
        raise TypeError(
            f"compare: `{name}` are functions by name, a dict, and are "
            f"{type(functions).__name__}."
        )
    for key, function in functions.items():
        check_function(
            f"{name}[{key!r}]", function, "f(variables, ...)", call="compare"
        )


def _with_references(
    methods: Mapping[str, Attribution], references: Sequence[str], inputs: Inputs
) -> dict[str, Attribution]:
    """The attribution functions of all rows, by name."""
    for reference in references:
        check_choice("references", reference, REFERENCES, call="compare")
    rows = list(methods.items())
    if "inverse" in references:
        rows += [(f"-{name}", inverse(method)) for name, method in methods.items()]
    if "random" in references:
        rows.append(("random", at_random))
    if "edges" in references and getattr(inputs, "ndim", 0) == 4:
        rows.append(("edges", edges))
    names = [name for name, _ in rows]
    if not methods or len(set(names)) < len(names):
        raise ValueError(
            "compare() takes attribution functions by name, `{'gradient': "
            f"gradient(apply_fn)}}`; the rows would be {names}.\nGive each method a "
            "name of its own."
        )
    return dict(rows)


def _jitted(method: Attribution, *args: Any) -> Any:
    """Returns what a method gives, computed by one program."""
    static, arrays = static_and_arrays(args)
    return jax.jit(lambda arrays: method(*static.with_arrays(arrays)))(arrays)


def _checked(values: Any, n_examples: int, name: str) -> np.ndarray:
    """The values of a measure, one for each example."""
    if not hasattr(values, "shape") or values.shape != (n_examples,):
        shapes = jax.tree.map(np.shape, values)
        raise ValueError(
            f"The metric {name!r} must return one value per example, shape "
            f"({n_examples},), and returned {shapes}.\nReduce it, for example "
            "`lambda *args: aopc(curve(*args))`."
        )
    return np.asarray(values, np.float64)
