"""Numbers of a curve of scores: the areas under, over and between curves."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced, shown


class Curve(NamedTuple):
    """How the score of each example changes as its features change.

    Attributes:
        fractions: the share of the features that is deleted, or inserted, from 0 to 1,
            `(batch, points)`.
        scores: the score at each of these points, in its own units, `(batch, points)`.
    """

    fractions: Any
    scores: Any


def area(curve: Curve) -> Any:
    r"""Returns the area under a curve, $\int_0^1 y(t)\,dt$, by the trapezoidal rule.

    Args:
        curve: what a measure of `perturbation_curve` returns.

    Returns:
        The mean score along the curve, in units of the score, `(batch,)`.

    Raises:
        TypeError: if it is no curve of each example.

    Example:
        >>> curve = Curve(jnp.array([[0.0, 0.5, 1.0]]), jnp.array([[8.0, 2.0, 0.0]]))
        >>> area(curve).tolist()
        [3.0]
    """
    _check(curve)
    widths = jnp.diff(curve.fractions, axis=1)
    means = (curve.scores[:, 1:] + curve.scores[:, :-1]) / 2
    return (widths * means).sum(axis=1)


def aopc(curve: Curve) -> Any:
    r"""Returns the area over a deletion curve, $\frac{1}{L+1} \sum_k (y_0 - y_k)$.

    Args:
        curve: what a measure of `perturbation_curve` with `mode="delete"` returns.

    Returns:
        The mean fall of the score, in units of the score, `(batch,)`: high is good for
        the order `"morf"`.

    Raises:
        TypeError: if it is no curve of each example.

    References:
        Samek et al., 2017 [samek2017evaluating].

    Example:
        >>> curve = Curve(jnp.array([[0.0, 0.5, 1.0]]), jnp.array([[9.0, 3.0, 0.0]]))
        >>> aopc(curve).tolist()
        [5.0]
    """
    _check(curve)
    return (curve.scores[:, :1] - curve.scores).mean(axis=1)


def abpc(morf: Curve, lerf: Curve) -> Any:
    r"""Returns the area between two curves, $\frac{1}{L+1}\sum_k (y_k^\ell - y_k^m)$.

    It compares an order with its reverse, so that what any deletion does to the network
    cancels. In expectation it is 0 for a random order.

    Args:
        morf: the deletion curve $y^m$, with the most relevant features first.
        lerf: the deletion curve $y^\ell$, with the least relevant features first.

    Returns:
        The mean difference, in units of the score, `(batch,)`; high is good.

    Raises:
        TypeError: if one is no curve of each example.
        ValueError: if the curves have different points; under `jit` only their number
            is checked.

    References:
        Blücher et al., 2024, "symmetric relevance gain" [blucher2024decoupling].

    Example:
        >>> morf = Curve(jnp.array([[0.0, 0.5, 1.0]]), jnp.array([[8.0, 2.0, 0.0]]))
        >>> abpc(morf, morf._replace(scores=jnp.array([[8.0, 5.0, 0.0]]))).tolist()
        [1.0]
    """
    _check(morf)
    _check(lerf)
    is_other = morf.scores.shape != lerf.scores.shape
    points = morf.fractions, lerf.fractions
    if not is_other and not is_traced(points):
        is_other = not np.allclose(*points, atol=1e-6, equal_nan=True)
    if is_other:
        raise ValueError(
            f"The curves have the shapes {morf.scores.shape} and {lerf.scores.shape}, "
            "or other points.\n"
            "Measure both with the same `steps` and `segments`."
        )
    return (lerf.scores - morf.scores).mean(axis=1)


def _check(curve: Any) -> None:
    is_curve = isinstance(curve, Curve)
    if (
        not is_curve
        or jnp.ndim(curve.scores) != 2
        or (jnp.shape(curve.fractions) != jnp.shape(curve.scores))
    ):
        raise TypeError(
            "A curve is what a measure of `perturbation_curve` returns, fractions and "
            f"scores (batch, points), and {shown(curve)} was given."
        )
