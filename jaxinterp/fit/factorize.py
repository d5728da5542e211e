r"""Matrices as products of few rows and columns: nonnegative and principal ones.

$A$ is the matrix, $U$ its left factor, a column for each part, and $V$ its right
factor, a row for each part.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, is_traced

_multiply = functools.partial(jnp.matmul, precision="highest")


class Factors(NamedTuple):
    """Two factors of a matrix.

    Attributes:
        left: how much of each part is in each row of the matrix, `(rows, parts)`.
        right: what each part is, `(parts, columns)`.
    """

    left: jax.Array
    right: jax.Array


def nmf(matrix: Any, parts: int, *, steps: int = 200) -> Factors:
    r"""Returns nonnegative factors whose product is close to a nonnegative matrix.

    $$\min_{U \ge 0,\, V \ge 0} \lVert A - U V \rVert_F^2$$

    Coordinate descent: each column of $U$, then each row of $V$, is set to the best one
    while all others are kept. The start is a singular value decomposition (NNDSVD), so
    nothing is random. The minimum that is found is a local one. Cost: a singular value
    decomposition, and for each step two products with the matrix.

    Args:
        matrix: $A$, `(rows, columns)`, without negative entries.
        parts: how many parts, at most the smaller side of the matrix.
        steps: how often all parts are improved.

    Returns:
        The factors, in single precision at least; a part that is not needed is 0.

    Raises:
        ValueError: if the matrix has another number of axes or a negative entry, or
            there are more parts than it has rows or columns. Where the matrix is traced
            negative entries cannot be seen, and make all of the factors NaN.

    Example:
        >>> matrix = jnp.outer(jnp.array([1.0, 0.0, 2.0]), jnp.array([3.0, 1.0]))
        >>> left, right = nmf(matrix, 1)
        >>> bool(jnp.allclose(left @ right, matrix, atol=1e-4))
        True

    References:
        Cichocki and Phan, 2009 (coordinate descent, there called HALS)
        [cichocki2009fast]; Boutsidis and Gallopoulos, 2008 (the start)
        [boutsidis2008svd].
    """
    parts = checked_integer("parts", parts, 1, call="nmf")
    steps = checked_integer("steps", steps, 0, call="nmf")
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or parts > min(matrix.shape):
        raise ValueError(
            f"nmf: {parts} parts need a matrix of at least so many rows and columns, "
            f"and its shape is {matrix.shape}."
        )
    if not is_traced(matrix) and (lowest := np.min(np.asarray(matrix))) < 0:
        raise ValueError(
            f"nmf: a matrix without negative entries has such factors, and {lowest:g} "
            "is in it.\nOf activations take a site behind a relu; of signed numbers "
            "give their positive parts, `jnp.maximum(matrix, 0)`."
        )
    matrix = matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))
    matrix = jnp.where((matrix < 0).any(), jnp.nan, matrix)

    def step(_: Any, factors: Factors) -> Factors:
        left, right = factors
        left = _improved(left, _multiply(matrix, right.T), _multiply(right, right.T))
        right = _improved(right.T, _multiply(matrix.T, left), _multiply(left.T, left))
        return Factors(left, right.T)

    return jax.lax.fori_loop(0, steps, step, _start(matrix, parts))


def principal_direction(matrix: Any) -> jax.Array:
    r"""Returns the unit vector along which the rows of a matrix are longest.

    $$v = \mathop{\mathrm{argmax}}_{\lVert v \rVert = 1} \lVert A v \rVert$$

    It is the first right singular vector, of either sign. Unlike those of all singular
    vectors, its derivative is finite wherever the largest singular value is single,
    however often others coincide; where it is not, directions that are as long count
    as fixed. Cost: a singular value decomposition.

    Args:
        matrix: $A$, `(rows, columns)`, in single precision at least.

    Returns:
        The vector, `(columns,)`.

    Example:
        >>> matrix = jnp.array([[3.0, 4.0], [6.0, 8.0]])
        >>> (10 * jnp.abs(principal_direction(matrix))).round().tolist()
        [6.0, 8.0]
    """
    _, sizes, rows = jnp.linalg.svd(jax.lax.stop_gradient(matrix), full_matrices=False)
    first = rows[0]
    # To first order the vector follows the change of A'A v, each part over its gap.
    image = _multiply(matrix.T, _multiply(matrix, first))
    change = image - jax.lax.stop_gradient(image)
    shares = _multiply(rows, change)
    rest = change - _multiply(shares, rows)
    gaps = sizes[0] ** 2 - jnp.append(sizes**2, 0)
    shares, rest = (
        jnp.where(gap > 0, part / jnp.where(gap > 0, gap, 1), 0)
        for part, gap in ((shares, gaps[:-1]), (rest, gaps[-1]))
    )
    return first + _multiply(shares, rows) + rest


def _improved(columns: Any, products: Any, gram: Any) -> Any:
    """Sets each column in turn to the best one that is not negative."""

    def one(j: Any, columns: Any) -> Any:
        slope = _multiply(columns, gram[:, j]) - products[:, j]
        curvature = gram[j, j]
        is_used = curvature != 0
        change = jnp.where(is_used, slope / jnp.where(is_used, curvature, 1), 0)
        return columns.at[:, j].set(jnp.maximum(columns[:, j] - change, 0))

    return jax.lax.fori_loop(0, columns.shape[1], one, columns)


def _start(matrix: Any, parts: int) -> Factors:
    """The positive or the negative half of each pair of singular vectors."""
    left, sizes, right = jnp.linalg.svd(matrix, full_matrices=False)
    u, sizes, v = left[:, :parts], sizes[:parts], right[:parts].T

    def lengths(x: Any) -> Any:
        return jnp.sqrt((x * x).sum(axis=0, keepdims=True))

    halves = [(jnp.maximum(s * u, 0), jnp.maximum(s * v, 0)) for s in (1, -1)]
    weights = [lengths(a) * lengths(b) for a, b in halves]
    is_first = weights[0] >= weights[1]
    u, v = (jnp.where(is_first, a, b) for a, b in zip(*halves, strict=True))
    # A half keeps as much as it weighs in the product of the two.
    weight = jnp.maximum(*weights)
    root = jnp.sqrt(sizes[None] * weight)
    scaled = [x * root / jnp.where(weight > 0, lengths(x), 1) for x in (u, v)]
    return Factors(scaled[0], scaled[1].T)
