"""`knn_shapley`: what an example is worth to a nearest-neighbor classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, shown
from jaxinterp.influence.training import as_pair
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream


class ShapleyValues(NamedTuple):
    """The value of each training example, added up over queries.

    Attributes:
        total: the sum over queries, `(examples,)`.
        n_queries: the number of queries.
        k: the number of neighbors.
    """

    total: Any
    n_queries: int
    k: int

    @property
    def values(self) -> np.ndarray:
        """The mean over queries, `(examples,)`; they add up to the utility."""
        return np.asarray(self.total) / self.n_queries


def knn_shapley(
    features: Any,
    labels: Any,
    batches: Iterable[Any],
    *,
    k: int,
    resume: ShapleyValues | None = None,
    progress: bool = True,
) -> ShapleyValues:
    r"""Computes the Shapley value of each example for a nearest-neighbor classifier.

    The utility of a set of training examples is the share of the right label among the
    $k$ nearest of them, $v(S) = \frac1k \sum_{j \le \min(k, |S|)} [y_j = y]$, averaged
    over queries. With the examples $1 \dots N$ by rising distance from a query

    $$s_N = \frac{[y_N = y]}{\max(k, N)}, \qquad
    s_i = s_{i+1} + \frac{[y_i = y] - [y_{i+1} = y]}{k} \frac{\min(k, i)}{i}$$

    This is exact; the paper's $s_N = [y_N = y] / N$ supposes that $k \le N$. The values
    of mislabeled examples are low, mostly negative.

    It values examples for the neighbors in these features, which need not be what
    matters to the network that the features come from. Take features in which distances
    mean something, such as those before the last layer.

    Cost: for each query the distances to all examples, and sorting them. Memory for one
    batch of queries times the examples.

    Args:
        features: the features of the training examples, one row of any shape for each.
        labels: their classes, integers `(examples,)`.
        batches: pairs `(features, labels)` of queries, such as a validation set.
        k: the number of neighbors.
        resume: the values by the queries before, from the same arguments.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        One value for each training example, as a share of right neighbors. Of equal
        distances the earlier example is nearer.

    Raises:
        FloatingPointError: if a distance is not a number; the message names the query.
        TypeError: if a batch is no pair of arrays, or labels are not integers.
        ValueError: if shapes do not fit, `k` is out of range, or there is no query.

    Example:
        >>> features, labels = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 1, 0])
        >>> queries = [(jnp.array([[0.1]]), jnp.array([0]))]
        >>> values = knn_shapley(features, labels, queries, k=1).values
        >>> [round(value, 3) for value in values.tolist()]
        [0.833, -0.167, 0.333]

    References:
        Jia et al., 2019, theorem 1 [jia2019efficient].
    """
    call = "knn_shapley"
    k = checked_integer("k", k, 1, call=call)
    rows, classes = _checked(call, features, labels)

    def start(batch: Any) -> tuple[Any, ShapleyValues]:
        as_pair(call, batch)
        add = jax.jit(
            lambda *arrays: _with_batch(k, *arrays), out_shardings=everywhere(batch)
        )
        dtype = jnp.promote_types(rows.dtype, jnp.float32)
        state = ShapleyValues(jnp.zeros(len(rows), dtype), 0, k)
        if resume is not None:
            _check_resume(resume, state)
            state = resume

        def update(state: Any, batch: Any, count: Any) -> tuple[Any, Any]:
            queries, targets = _checked(call, *batch)
            if queries.shape[1] != rows.shape[1]:
                raise ValueError(
                    f"A query has {queries.shape[1]} features, and a training example "
                    f"{rows.shape[1]}."
                )
            total, invalid = add(state.total, rows, classes, queries, targets, count)
            return ShapleyValues(total, state.n_queries + int(count), k), invalid

        return update, state

    return over_stream(
        *(call, batches, start),
        constants=(rows, classes),
        invalid="not a number",
        name=call if progress else "",
        is_tree=True,
    )


def _with_batch(
    k: int, total: Any, rows: Any, classes: Any, queries: Any, targets: Any, count: Any
) -> tuple[Any, Any]:
    size = len(rows)
    wide = total.dtype

    def of_query(query: Any, target: Any) -> tuple[Any, Any]:
        differences = rows.astype(wide) - query.astype(wide)[None]
        distances = (differences**2).sum(axis=1)
        order = jnp.argsort(distances, stable=True)
        is_right = (classes[order] == target).astype(wide)
        ranks = jnp.arange(1, size, dtype=wide)
        steps = (is_right[:-1] - is_right[1:]) * (jnp.minimum(k, ranks) / (k * ranks))
        last = is_right[-1:] / max(k, size)
        from_the_end = jnp.cumsum(jnp.concatenate([last, steps[::-1]]))
        values = jnp.zeros(size, wide).at[order].set(from_the_end[::-1])
        return values, jnp.isnan(distances).any()

    values, is_invalid = jax.vmap(of_query)(queries, targets)
    is_real = jnp.arange(len(queries)) < count
    values = jnp.where(is_real[:, None], values, 0).sum(axis=0)
    return total + values.astype(wide), first_invalid(is_invalid[None], count)


def _checked(call: str, features: Any, labels: Any) -> tuple[Any, Any]:
    features, labels = jnp.asarray(features), jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{call}: labels are integers, and are {labels.dtype}.")
    if features.ndim < 2 or labels.shape != features.shape[:1] or not features.size:
        raise ValueError(
            f"{call}: there is one row of features and one label for each example, and "
            f"these are {shown(list(features.shape))} and {shown(list(labels.shape))}."
        )
    return features.reshape(len(features), -1), labels


def _check_resume(resume: Any, expected: ShapleyValues) -> None:
    is_ours = isinstance(resume, ShapleyValues)
    if not is_ours or (resume.k, resume.total.shape) != (
        expected.k,
        expected.total.shape,
    ):
        kind = (
            f"k={resume.k}, {len(resume.total)} examples" if is_ours else shown(resume)
        )
        raise ValueError(
            "`resume` is what an earlier call of knn_shapley() returned, with k="
            f"{expected.k} and {len(expected.total)} examples, and is {kind}."
        )
