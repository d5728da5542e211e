"""Ranks of entries, and Spearman's rank correlation of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.metrics.contract import as_rows


def ranks(rows: Any) -> Any:
    """Returns the rank of each entry in its row, from 1; ties share their mean rank.

    Args:
        rows: an array `(batch, entries)`.

    Example:
        >>> ranks(jnp.array([[0.5, 7.0, 0.5]])).tolist()
        [[1.5, 3.0, 1.5]]
    """

    def of_row(row: Any) -> Any:
        ordered = jnp.sort(row)
        below = jnp.searchsorted(ordered, row, side="left")
        up_to = jnp.searchsorted(ordered, row, side="right")
        return (below + up_to + 1).astype(row.dtype) / 2

    return jax.vmap(of_row)(rows)


def rank_correlation(first: Any, second: Any) -> Any:
    r"""Returns Spearman's rank correlation of what two attributions say of an example.

    $$\rho = \frac{\sum_i (r_i - \bar r)(s_i - \bar s)}
    {\sqrt{\sum_i (r_i - \bar r)^2 \sum_i (s_i - \bar s)^2}}$$

    with the ranks $r$ of the entries of `first` and $s$ of those of `second`; ties have
    their mean rank.

    Args:
        first: attributions, an array or a pytree, with the examples on the first axis.
        second: other attributions of the same examples.

    Returns:
        A number in [-1, 1] for each example, `(batch,)`; NaN where one of the two is
        constant, has a NaN or no entry.

    Raises:
        TypeError: if one of them is no array of real numbers.
        ValueError: if the two have not the same number of entries.

    References:
        Spearman, 1904 [spearman1904proof]; Adebayo et al., 2018 [adebayo2018sanity].

    Example:
        >>> first, second = jnp.array([[1.0, 2.0, 9.0]]), jnp.array([[0.0, 1.0, 2.0]])
        >>> round(float(rank_correlation(first, second)[0]), 5)
        1.0
    """
    rows = as_rows(first), as_rows(second)
    if any(jnp.iscomplexobj(row) for row in rows):
        raise TypeError(
            "Complex numbers have no order. Write for example `jnp.abs(attributions)`."
        )
    if rows[0].shape != rows[1].shape:
        raise ValueError(
            f"The attributions have {rows[0].shape[1]} entries of {len(rows[0])} "
            f"examples and {rows[1].shape[1]} of {len(rows[1])}.\nGive two "
            "attributions of the same shape."
        )
    r, s = (ranks(row) for row in rows)
    r, s = (x - x.mean(axis=1, keepdims=True) for x in (r, s))
    r, s = (x / jnp.sqrt((x * x).sum(axis=1, keepdims=True)) for x in (r, s))
    has_nan = jnp.isnan(rows[0]).any(axis=1) | jnp.isnan(rows[1]).any(axis=1)
    is_empty = rows[0].shape[1] == 0
    return jnp.where(has_nan | is_empty, jnp.nan, (r * s).sum(axis=1))
