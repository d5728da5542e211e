"""`trac_in`: which training examples moved a prediction during training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_outside, checked_real
from jaxinterp.influence.training import (
    Parameters,
    Training,
    as_pair,
    check_query_gradients,
    checked_queries,
    chosen_paths,
    flat_parameters,
    multiply,
)
from jaxinterp.loop.ranking import Ranking, ranked
from jaxinterp.loop.stream import everywhere
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score
from jaxinterp.types import ApplyFn, Variables


def trac_in(
    apply_fn: ApplyFn,
    loss: Score,
    checkpoints: Sequence[Variables],
    batches: Iterable[Any],
    queries: Any = None,
    *,
    rates: Sequence[float] | float,
    measure: Score | Objective | str | None = None,
    parameters: Parameters = None,
    k: int = 10,
    resume: Ranking | None = None,
    progress: bool = True,
) -> Ranking:
    r"""Adds up how steps along each example's gradient lowered a query's loss.

    $$S_{qi} = \sum_t \eta_t\, \nabla L_i(\theta_t) \cdot \nabla L_q(\theta_t)$$

    A positive score says that training on $i$ lowered the loss of $q$ (a proponent).
    Nothing is inverted and no minimum is needed; but the sum knows neither momentum nor
    how examples interact, and examples with large gradients dominate it. With few
    checkpoints it misses what happened between them.

    Cost: for each checkpoint and training example, a forward and a backward pass.
    Memory for all checkpoints, and for the gradients of one batch and of the queries.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        loss: the loss of each example, `loss(outputs, labels) -> (batch,)`.
        checkpoints: the weights of the model at several times of training.
        batches: pairs `(inputs, labels)` of arrays with the examples on the first axis,
            the training data. The first batch says how many are taken at once.
        queries: a pair `(inputs, labels)` of the examples to be explained; by default
            every training example is asked for its influence on itself.
        rates: $\eta_t$ for each checkpoint, or one for all: the learning rate times the
            number of steps on each example that the checkpoint stands for, divided by
            the size of the batches that the loss was averaged over.
        measure: what is measured of a query, a score or an objective; the loss by
            default.
        parameters: globs on the paths of the leaves that are parameters. By default all
            floating-point leaves, or those of the collection `params` if there is one.
        k: the number of examples of either sort that are kept for each query.
        resume: the result for the examples before, from the same arguments, of which
            the weights cannot be checked.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        For each query the training examples with the highest and the lowest scores, in
        the units of the measurement. Without queries there is one row, of examples on
        themselves.

    Raises:
        FloatingPointError: if a score is not a number, or the gradient of a query is
            not finite; the message names the example or the query.
        TypeError: if a batch or the queries are no pairs of arrays, or the checkpoints
            no list.
        ValueError: if there is no checkpoint, one of another model, not one rate for
            each, a hyperparameter
            is out of range, there is no example, or `resume` is of another call.

    Example:
        >>> loss, model = ji.influence.squared_error, lambda w, x: x * w
        >>> data = [(jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [6.0]]))]
        >>> query = jnp.array([[1.0]]), jnp.array([[2.0]])
        >>> ranking = trac_in(model, loss, [0.0, 1.0], data, query, rates=0.1)
        >>> ranking.by_example().round(3).tolist()
        [[0.5, 4.5]]

    References:
        Pruthi et al., 2020 (TracInCP) [pruthi2020estimating].
    """
    call = "trac_in"
    checkpoints = _checked_checkpoints(checkpoints)
    check_outside(call, "reads a stream on the host", checkpoints, queries)
    weights = _checked_rates(rates, len(checkpoints))
    paths = chosen_paths(checkpoints[0], parameters)
    training = Training.of(apply_fn, loss, paths)
    query_training = (
        training if measure is None else Training.of(apply_fn, measure, paths)
    )
    dtype = flat_parameters(checkpoints[0], paths).dtype
    vectors = None
    if queries is not None:
        of_measure = jax.jit(query_training.gradients)
        pair = checked_queries(call, queries)
        vectors = [of_measure(variables, *pair) for variables in checkpoints]
        for of_checkpoint in vectors:
            check_query_gradients(call, of_checkpoint)

    def products(rate: Any, variables: Any, of_queries: Any, batch: Any) -> Any:
        gradients = training.gradients(variables, *batch)
        if of_queries is not None:
            return rate * multiply(of_queries, gradients.T)
        own = gradients
        if query_training is not training:
            own = query_training.gradients(variables, *batch)
        return rate * (own * gradients).sum(axis=1)[None]

    def start(batch: Any) -> tuple[Callable[[Any], Any], int, Any]:
        as_pair(call, batch)
        score = jax.jit(products, out_shardings=everywhere(batch))

        def scores(batch: Any) -> Any:
            total: Any = None
            for t, variables in enumerate(checkpoints):
                of_queries = None if vectors is None else vectors[t]
                rate = jnp.asarray(weights[t], dtype)
                part = score(rate, variables, of_queries, batch)
                total = part if total is None else total + part
            return total

        return scores, 1 if vectors is None else len(vectors[0]), dtype

    return ranked(
        *(call, batches, start),
        k=k,
        description=f"trac_in with rates {weights} of {paths}",
        constants=checkpoints,
        resume=resume,
        name=call if progress else "",
    )


def _checked_checkpoints(checkpoints: Any) -> list[Variables]:
    if not isinstance(checkpoints, list | tuple):
        raise TypeError(
            "trac_in: `checkpoints` are the weights at several times, in a list, and "
            f"are {type(checkpoints).__name__}. Of one time write `[variables]`."
        )
    shapes = [
        (jax.tree.structure(one), [jnp.shape(leaf) for leaf in jax.tree.leaves(one)])
        for one in checkpoints
    ]
    for number, other in enumerate(shapes):
        if other != shapes[0]:
            raise ValueError(
                f"trac_in: checkpoint {number} has other leaves or shapes than the "
                "first. They are the weights of one model at several times."
            )
    return list(checkpoints)


def _checked_rates(rates: Sequence[float] | float, count: int) -> list[float]:
    if not count:
        raise ValueError("trac_in: `checkpoints` holds no weights of the model.")
    values = np.asarray(rates).tolist()  # of arrays too, as a schedule returns them
    values = values if isinstance(values, list) else [values] * count
    if len(values) != count:
        raise ValueError(
            f"trac_in: there is one rate for each checkpoint, or one for all; there "
            f"are {len(values)} rates and {count} checkpoints."
        )
    return [checked_real("rates", rate, 0, call="trac_in") for rate in values]
