r"""`influence`: which training examples a prediction rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import check_outside, checked_real
from jaxinterp.influence.curvature import Curvature
from jaxinterp.influence.training import (
    Training,
    as_pair,
    check_query_gradients,
    checked_queries,
    flat_parameters,
    multiply,
)
from jaxinterp.loop.ranking import Ranking, ranked
from jaxinterp.loop.stream import everywhere
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score
from jaxinterp.types import ApplyFn, Variables


def influence(
    apply_fn: ApplyFn,
    loss: Score,
    variables: Variables,
    batches: Iterable[Any],
    queries: Any = None,
    *,
    curvature: Curvature,
    damping: float,
    measure: Score | Objective | str | None = None,
    k: int = 10,
    resume: Ranking | None = None,
    progress: bool = True,
) -> Ranking:
    r"""Estimates how a measurement would change if a training example were left out.

    $$S_{qi} = \frac1n\, \nabla m_q^\top (C + \lambda I)^{-1}\, \nabla L_i
    \approx m_q(\theta_{-i}) - m_q(\theta)$$

    $C$ is the curvature of the mean loss over the $n$ training examples, and
    $\theta_{-i}$ minimizes the mean loss and the weight decay without example $i$, both
    still divided by $n$. By default $m_q$ is the loss of the query: a positive score
    says that leaving $i$ out raises it, so that $i$ helps $q$ (a proponent), a negative
    one that $i$ harms it (an opponent). Other libraries leave out $\frac1n$, or turn
    the sign round.

    It is a statement about a minimum, to first order. Do not believe it where training
    stopped early, where the damping is far larger than the weight decay and the small
    eigenvalues matter, or for the removal of many examples at once; retrain without a
    few examples to see.

    Cost: the curvature is solved once for all queries; then one forward and one
    backward pass for each training example. Memory for the gradients of one batch and
    of the queries, and for `k` examples of each query.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        loss: the loss of each example, `loss(outputs, labels) -> (batch,)`, without
            weight decay.
        variables: the weights of the model after training.
        batches: pairs `(inputs, labels)` of arrays with the examples on the first axis,
            the training data. The first batch says how many are taken at once.
        queries: a pair `(inputs, labels)` of the examples to be explained; by default
            every training example is asked for its influence on itself.
        curvature: what `hessian`, `conjugate_gradient` or `ekfac` returned for the same
            model, loss and weights.
        damping: $\lambda$, which is added to each eigenvalue. A weight decay of
            $\frac\lambda2 \lVert \theta \rVert^2$ beside the mean loss belongs here.
        measure: what is measured of a query, a score or an objective; the loss by
            default.
        k: the number of examples of either sort that are kept for each query.
        resume: the result for the examples before, from the same arguments, of which
            the weights cannot be checked.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        For each query the training examples with the highest and the lowest influence
        and their scores, in the units of the measurement. Without queries there is one
        row, of the influence of examples on themselves, which is never negative if loss
        and measurement are the same: the highest ones are atypical or mislabeled.

    Raises:
        FloatingPointError: if a score is not a number, or the gradient of a query is
            not finite; the message names the example or the query.
        RuntimeError: if conjugate gradients do not converge.
        TypeError: if a batch or the queries are no pairs of arrays.
        ValueError: if a hyperparameter is out of range, the curvature is of other
            parameters or, damped, not positive definite, there is no example or no
            query, or `resume` is of another call.

    Example:
        >>> loss, model = ji.influence.squared_error, lambda w, x: x * w
        >>> data = [(jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [6.0]]))]
        >>> curvature = ji.influence.hessian(model, loss, 1.5, data)
        >>> query = jnp.array([[1.0]]), jnp.array([[2.0]])
        >>> ranking = influence(model, loss, 1.5, data, query, curvature=curvature,
        ...                     damping=0.0)
        >>> ranking.by_example().round(3).tolist()
        [[0.025, 0.225]]

    References:
        Koh and Liang, 2017, eq. 2 [koh2017understanding].
    """
    call = "influence"
    check_outside(call, "reads a stream on the host", variables, queries)
    damping = checked_real("damping", damping, 0, call=call)
    if not isinstance(curvature, Curvature):
        raise TypeError(
            "`curvature` is what hessian(), conjugate_gradient() or ekfac() returned, "
            f"and is {type(curvature).__name__}."
        )
    training = Training.of(apply_fn, loss, curvature.paths)
    query_training = training
    if measure is not None:
        query_training = Training.of(apply_fn, measure, curvature.paths)
    dtype = flat_parameters(variables, curvature.paths).dtype
    of_measure = jax.jit(query_training.gradients)
    solution = None
    if queries is not None:
        vectors = of_measure(variables, *checked_queries(call, queries))
        check_query_gradients(call, vectors)
        solution = curvature.solve(vectors, damping)

    def start(batch: Any) -> tuple[Callable[[Any], Any], int, Any]:
        as_pair(call, batch)
        sharding = everywhere(batch)
        score = jax.jit(
            lambda vectors, variables, batch: _products(
                vectors, training.gradients(variables, *batch), queries is None
            ),
            out_shardings=sharding,
        )

        def scores(batch: Any) -> Any:
            system = solution
            if system is None:
                vectors = of_measure(variables, *batch)
                system = curvature.solve(vectors, damping)
            return score(system.vectors, variables, batch) / system.n_examples

        return scores, 1 if solution is None else len(solution.vectors), dtype

    return ranked(
        *(call, batches, start),
        k=k,
        description=f"influence with damping={damping:g} of {curvature.paths}",
        constants=variables,
        resume=resume,
        name=call if progress else "",
    )


def _products(vectors: Any, gradients: Any, is_own: bool) -> Any:
    """The product of each vector with each gradient, or of each with its own."""
    if is_own:
        return (vectors * gradients).sum(axis=1)[None]
    return multiply(vectors, jnp.transpose(gradients))
