r"""What a model does overall with each feature, beyond single examples.

A feature is an index along the last axis of the inputs: a column of a table, a channel
of an image or a sequence at all places at once. Nothing here looks inside of the model;
what is asked of it is a score of its outputs, or an objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import (
    check_index,
    checked_integer,
    is_integer,
    is_traced,
    shown,
)
from jaxinterp.keys import check_key
from jaxinterp.loop.chunks import even_size, over_units, within_budget
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score, logit
from jaxinterp.perturbation.sobol_indices import first_indices, total_indices
from jaxinterp.types import ApplyFn, Key, Target, Variables


class Curves(NamedTuple):
    """The score as a function of one feature.

    Attributes:
        grid: the values of the feature, `(points,)`.
        values: the scores at these values, in units of the score: `(points,)`, or
            `(batch, points)` with one curve for each example.
    """

    grid: Any
    values: Any


class SensitivityIndices(NamedTuple):
    """The shares of each feature in the variance of a score, `(features,)`.

    Attributes:
        first: the share of a feature alone.
        total: the share of a feature with all its interactions.
    """

    first: Any
    total: Any


def ice(
    apply_fn: ApplyFn,
    *,
    feature: int,
    grid: Any = 20,
    score: Score | Objective | str = logit,
    batch_size: int | None = None,
) -> Callable[..., Curves]:
    r"""Draws the score of each example against one feature, all else unchanged.

    The individual conditional expectation of example $i$ at the value $v$ of the
    feature $j$ is

    $$\mathrm{ICE}_i(v) = f(x_i \text{ with } x_{ij} = v)$$

    Curves that are not parallel tell of an interaction, which their mean, the
    `partial_dependence`, hides. A value that an example could not have, given its other
    features, is filled in all the same. Cost: one forward pass for each point.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        feature: the index of the feature along the last axis of the inputs.
        grid: the values of the feature, `(points,)`, or the number of quantiles of the
            feature in the batch, from the least to the greatest value.
        score: which number per example is drawn: a score of the outputs, or an
            objective.
        batch_size: the number of points computed at once; by default all of them, or
            as many as have inputs of 16 MB.

    Returns:
        A function `curves(variables, inputs, target=None) -> Curves` with one curve for
        each example, `(batch, points)`.

    Raises:
        TypeError: if the feature is no integer.
        ValueError: if the number of quantiles is no positive integer, or the grid is
            empty or has several axes; when called, if there is no such feature, or the
            inputs have fewer than two axes.

    References:
        Goldstein et al., 2015 [goldstein2015peeking].

    Example:
        >>> from jaxinterp.objectives import total
        >>> curves = ice(lambda w, x: x[:, 0] * x[:, 1], feature=0, grid=[0.0, 1.0],
        ...     score=total)
        >>> curves(None, jnp.array([[5.0, 2.0], [5.0, 3.0]])).values.tolist()
        [[0.0, 2.0], [0.0, 3.0]]
    """
    model, score_fn = explained(apply_fn, score)
    feature, grid = _checked_feature(feature), _checked_grid(grid)

    def curves(variables: Variables, inputs: Any, target: Target = None) -> Curves:
        inputs = _checked_inputs(inputs, "ice")
        check_index(feature, inputs.shape[-1], "feature")
        column = inputs[..., feature]
        points = _points(column, grid)

        def scores(point: Any) -> Any:
            changed = inputs.at[..., feature].set(point)
            return _scores(model, score_fn, variables, changed, target)

        values = _each(scores, points, inputs, batch_size)
        return Curves(points, values.T)

    return curves


def partial_dependence(
    apply_fn: ApplyFn,
    *,
    feature: int,
    grid: Any = 20,
    score: Score | Objective | str = logit,
    batch_size: int | None = None,
) -> Callable[..., Curves]:
    r"""Draws the mean score against one feature, over the other features of the data.

    $$\mathrm{PD}_j(v) = \frac1n \sum_i f(x_i \text{ with } x_{ij} = v)$$

    This is the mean of the curves of `ice`. Where features are correlated it averages
    over examples that do not exist, and it hides interactions whose mean is flat.
    Cost: one forward pass for each point.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        feature: the index of the feature along the last axis of the inputs.
        grid: the values of the feature, `(points,)`, or the number of quantiles of the
            feature in the batch, from the least to the greatest value.
        score: which number per example is averaged: a score of the outputs, or an
            objective.
        batch_size: the number of points computed at once; by default all of them, or
            as many as have inputs of 16 MB.

    Returns:
        A function `curve(variables, inputs, target=None) -> Curves` with one curve,
        `(points,)`. Of an empty batch it is NaN.

    Raises:
        TypeError: if the feature is no integer.
        ValueError: as `ice`.

    References:
        Friedman, 2001, section 8.2 [friedman2001greedy].

    Example:
        >>> from jaxinterp.objectives import total
        >>> curve = partial_dependence(lambda w, x: x[:, 0] * x[:, 1], feature=0,
        ...     grid=[0.0, 1.0], score=total)
        >>> curve(None, jnp.array([[5.0, 2.0], [5.0, 4.0]])).values.tolist()
        [0.0, 3.0]
    """
    curves = ice(
        apply_fn, feature=feature, grid=grid, score=score, batch_size=batch_size
    )

    def curve(variables: Variables, inputs: Any, target: Target = None) -> Curves:
        grid, values = curves(variables, inputs, target)
        return Curves(grid, values.mean(axis=0))

    return curve


def permutation_importance(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    repeats: int = 5,
    batch_size: int | None = None,
) -> Callable[..., Any]:
    r"""Says how much worse the model gets when one feature is shuffled.

    $$I_j = \frac1n \sum_i s(f(x_i), t_i)
        - \frac1n \sum_i s(f(x_i \text{ with } x_{ij} = x_{\pi(i)j}), t_i)$$

    for a random permutation $\pi$ of the examples, where the score $s$ is large if the
    model is right: `log_probability`, or minus the squared error. For a model without
    error, squared errors and independent features it is twice the variance of $f$ times
    the total Sobol index. Correlated features share what they tell, and each of them
    may look unimportant. Use examples that were not trained on. Cost: one forward pass
    for each feature and repeat, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number says how right the model is: a score of outputs and target,
            or an objective.
        repeats: the number of permutations of each feature.
        batch_size: the number of permutations computed at once; by default all of them,
            or as many as have inputs of 16 MB.

    Returns:
        A function `importance(variables, inputs, target=None, key=None)` that returns
        `(repeats, features)`, in units of the score: take the mean over repeats, and
        the deviation for how far chance goes. The permutation of a repeat is the same
        for all features.

    Raises:
        TypeError: when called, if `key` is no single key of `jax.random.key`.
        ValueError: if `repeats` is no positive integer; when called, if the inputs have
            fewer than two axes.

    References:
        Fisher et al., 2019 [fisher2019all]; Breiman, 2001 [breiman2001random].

    Example:
        >>> right = lambda outputs, target: -(outputs - target) ** 2
        >>> importance = permutation_importance(lambda w, x: x[:, 0], score=right)
        >>> x = jnp.array([[1.0, 7.0], [2.0, 8.0], [3.0, 9.0]])
        >>> drop = importance(None, x, x[:, 0], key=jax.random.key(0))
        >>> drop.shape, bool((drop[:, 0] >= 0).all()), drop[:, 1].tolist()
        ((5, 2), True, [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    model, score_fn = explained(apply_fn, score)
    repeats = checked_integer("repeats", repeats, 1, call="permutation_importance")

    def importance(
        variables: Variables, inputs: Any, target: Target = None, key: Key = None
    ) -> Any:
        check_key("permutation_importance", key)
        inputs = _checked_inputs(inputs, "permutation_importance")
        n_examples, n_features = inputs.shape[0], inputs.shape[-1]
        keys = jax.random.split(key, repeats)
        orders = jax.vmap(lambda k: jax.random.permutation(k, n_examples))(keys)

        def mean_score(number: Any) -> Any:
            order, feature = jnp.divmod(number, n_features)
            column = inputs[..., feature][orders[order]]
            changed = inputs.at[..., feature].set(column)
            return _scores(model, score_fn, variables, changed, target).mean()

        before = _scores(model, score_fn, variables, inputs, target).mean()
        numbers = jnp.arange(repeats * n_features)
        after = _each(mean_score, numbers, inputs, batch_size)
        return before - after.reshape(repeats, n_features)

    return importance


def sobol_indices(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str = logit,
    batch_size: int | None = None,
) -> Callable[..., SensitivityIndices]:
    r"""Divides the variance of the score among features and their interactions.

    With two independent samples $A$ and $B$, and $C_j$ the sample $A$ with column $j$
    of $B$,

    $$S_j = \frac{\overline{f(B)\,(f(C_j) - f(A))}}{V}, \qquad
      T_j = \frac{\overline{(f(A) - f(C_j))^2}}{2V}$$

    where $V$ is the variance over both samples: the share of the variance that the
    feature explains alone, and the share that goes if it is known last. Features have
    to be independent, as they are in a designed sample, and are not in most tables. Of
    few hundred rows the result is mostly chance; a low-discrepancy sample whose number
    of rows is a power of two converges fastest. Cost: a forward pass for each feature,
    and two.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: which number per example is analyzed: a score of the outputs, or an
            objective.
        batch_size: the number of features computed at once; by default all of them, or
            as many as have inputs of 16 MB.

    Returns:
        A function `indices(variables, inputs, others, target=None)` of two independent
        samples of the same shape that returns `SensitivityIndices`. They are NaN if the
        score does not vary. Estimates may lie a little below 0 or above 1.

    Raises:
        ValueError: when called, if the samples differ in shape, or have fewer than two
            axes.

    References:
        Saltelli et al., 2010, table 2, estimators (b) and (f) [saltelli2010variance];
        Jansen, 1999 [jansen1999analysis].

    Example:
        >>> from jaxinterp.objectives import total
        >>> a, b = jax.random.normal(jax.random.key(0), (2, 4096, 2))
        >>> indices = sobol_indices(lambda w, x: 2 * x[:, 0] + x[:, 1], score=total)
        >>> [round(float(t), 1) for t in indices(None, a, b).total]
        [0.8, 0.2]
    """
    model, score_fn = explained(apply_fn, score)

    def indices(
        variables: Variables, inputs: Any, others: Any, target: Target = None
    ) -> SensitivityIndices:
        inputs = _checked_inputs(inputs, "sobol_indices")
        others = _checked_inputs(others, "sobol_indices")
        if inputs.shape != others.shape:
            raise ValueError(
                "sobol_indices needs two samples of the same shape, and they have "
                f"{inputs.shape} and {others.shape}. Write "
                "`indices(variables, x[:n], x[n:])` for a sample of 2 n rows."
            )

        def scores(x: Any) -> Any:
            return _scores(model, score_fn, variables, x, target)

        def exchanged(feature: Any) -> Any:
            return scores(inputs.at[..., feature].set(others[..., feature]))

        of_inputs, of_others = scores(inputs), scores(others)
        features = jnp.arange(inputs.shape[-1])
        mixed = _each(exchanged, features, inputs, batch_size)
        values = of_inputs, of_others, mixed
        return SensitivityIndices(first_indices(*values), total_indices(*values))

    return indices


def _scores(
    model: ApplyFn, score_fn: Score, variables: Variables, inputs: Any, target: Target
) -> Any:
    """The score of each example, `(batch,)`."""
    values = score_fn(model(variables, inputs), target)
    check_score(values, inputs.shape[0], score_fn)
    return values


def _each(
    function: Callable[[Any], Any], points: Any, inputs: Any, batch_size: int | None
) -> Any:
    """Returns what a function gives for each point, some of them at once."""
    count = points.shape[0]
    if batch_size is None:
        size = even_size(count, within_budget(inputs.size * inputs.dtype.itemsize))
    else:
        size = min(checked_integer("batch_size", batch_size, 1), count)
    of_many = jax.vmap(function)
    if size == count:
        return of_many(points)
    return over_units(lambda i: of_many(points[i]), count, size, is_inner=True)


def _checked_feature(feature: Any) -> int:
    """Returns the index of a feature as a Python integer."""
    if not is_integer(feature):
        raise TypeError(
            "`feature` is the index of one feature along the last axis of the inputs, "
            f"and is {shown(feature)}."
        )
    return int(feature)


def _checked_grid(grid: Any) -> Any:
    """Returns a number of quantiles, or an array of values."""
    if np.ndim(grid) == 0:
        return checked_integer("grid", grid, 1)
    values = jnp.asarray(grid)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            "`grid` is the number of quantiles, or values of the feature, `(points,)`, "
            f"and has the shape {values.shape}."
        )
    return values


def _points(column: Any, grid: Any) -> Any:
    """The values of a feature, in the dtype of the inputs."""
    if isinstance(grid, int) and not column.size:
        raise ValueError(
            "There are no quantiles of an empty batch. Write the values of the feature,"
            " `grid=[0.0, 0.5, 1.0]`."
        )
    is_whole = jnp.issubdtype(column.dtype, jnp.integer)
    if isinstance(grid, int):  # of integers those that are there, each once
        points = _quantiles(column, grid)
        return (jnp.round(points) if is_whole else points).astype(column.dtype)
    if is_whole and not is_traced(grid) and bool((grid != jnp.round(grid)).any()):
        raise ValueError(
            f"`grid` has fractions, {shown(grid)}, and the inputs are {column.dtype}.\n"
            "Write `inputs.astype(jnp.float32)`, or integers."
        )
    return grid.astype(column.dtype)


def _quantiles(column: Any, count: int) -> Any:
    shares = jnp.linspace(0, 1, count) if count > 1 else jnp.array([0.5])
    wide = column.astype(jnp.promote_types(column.dtype, jnp.float32)).ravel()
    return jnp.quantile(wide, shares.astype(wide.dtype))


def _checked_inputs(inputs: Any, call: str) -> Any:
    """Returns inputs as an array of at least two axes, examples and features."""
    if not jax.tree_util.all_leaves([inputs]) and not isinstance(inputs, list | tuple):
        raise TypeError(
            f"{call}: inputs are one array, with features on the last axis, and are "
            f"{type(inputs).__name__}."
        )
    inputs = jnp.asarray(inputs)
    if inputs.ndim < 2:
        raise ValueError(
            f"{call}: inputs have examples on the first axis and features on the last, "
            f"and the shape {inputs.shape}.\nWrite `inputs[None]` for one example."
        )
    return inputs
