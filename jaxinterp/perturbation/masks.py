"""Masks: what of an input is kept, and what a baseline takes the place of.

A mask is an array with one row for each perturbed input. An entry of a row belongs to a
segment or to a position: `True` or 1 where the input is kept, `False` or 0 where the
baseline takes its place, and a share between them for a mixture.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, checked_share
from jaxinterp.keys import each_folded, steady
from jaxinterp.perturbation.segments import Segments
from jaxinterp.types import Inputs, Key


def random_masks(key: Key, count: int, size: int, share: float = 0.5) -> jax.Array:
    """Returns masks that keep each entry independently, with the same probability.

    Args:
        key: the random key; the i-th mask depends on `fold_in(key, i)` alone.
        count: the number of masks.
        size: the number of entries of a mask.
        share: the probability that an entry is kept.

    Returns:
        Booleans `(count, size)`.

    Raises:
        ValueError: if a number is not positive, or `share` is outside of [0, 1].

    Example:
        >>> random_masks(jax.random.key(0), 3, 4, share=1.0).all().item()
        True
    """
    call = "random_masks"
    count = checked_integer("count", count, 1, call=call)
    size = checked_integer("size", size, 1, call=call)
    share = checked_share("share", share, call=call)
    # Not `bernoulli`, whose draws depend on the default precision.
    keys = each_folded(steady(key), jnp.arange(count))
    draws = jax.vmap(lambda k: jax.random.uniform(k, (size,), jnp.float32))(keys)
    return draws < jnp.float32(share)


def smooth_mask(
    key: Key, shape: tuple[int, ...], cells: int, share: float
) -> jax.Array:
    """Returns a coarse random grid, enlarged linearly and shifted at random.

    The grid is enlarged to one cell more than the positions have along each axis, of
    which a part is taken that starts within the first cell.

    Args:
        key: the random key.
        shape: the lengths of the axes of positions.
        cells: the number of cells along each axis that has as many positions.
        share: the probability that a cell is 1 and not 0.

    Returns:
        Numbers between 0 and 1 in that shape.

    References:
        Petsiuk et al., 2018, section 3.2 [petsiuk2018rise].

    Example:
        >>> smooth_mask(jax.random.key(0), (4, 6), 2, share=1.0).min().item()
        1.0
    """
    counts = [min(cells, length) for length in shape]
    sizes = [-(-length // n) for length, n in zip(shape, counts, strict=True)]
    for_grid, for_shift = jax.random.split(steady(key))
    draws = jax.random.uniform(for_grid, [n + 1 for n in counts], jnp.float32)
    grid = (draws < jnp.float32(share)).astype(jnp.float32)
    full = [(n + 1) * size for n, size in zip(counts, sizes, strict=True)]
    whole = jax.image.resize(grid, full, "linear")
    starts = jax.random.randint(for_shift, (len(shape),), 0, jnp.asarray(sizes))
    return jax.lax.dynamic_slice(whole, list(starts), shape)


def windows(length: int, size: int, stride: int) -> np.ndarray:
    """Returns which positions of an axis each position of a sliding window covers.

    Args:
        length: the number of positions of the axis.
        size: the length of the window.
        stride: by how much it moves on. The last window ends with the axis, and moves
            on by less where `stride` does not divide the way.

    Returns:
        Booleans `(windows, length)`; each row has `size` times `True`.

    Raises:
        ValueError: if a number is no positive integer, if the window is longer than the
            axis, or if it skips positions.

    Example:
        >>> windows(4, 2, 2).astype(int).tolist()
        [[1, 1, 0, 0], [0, 0, 1, 1]]
    """
    size = checked_integer("size", size, 1, call="windows")
    stride = checked_integer("stride", stride, 1, call="windows")
    if size > length:
        raise ValueError(
            f"A window of size {size} does not fit an axis of {length} positions. "
            f"Write a size of {length} or less."
        )
    if stride > size:
        raise ValueError(
            f"Windows of size {size} with a stride of {stride} skip positions. Write a "
            f"stride of {size} or less."
        )
    starts = np.append(np.arange(0, length - size, stride), length - size)[:, None]
    positions = np.arange(length)[None]
    return (positions >= starts) & (positions < starts + size)


def kept_entries(mask: Any, segments: Segments) -> Any:
    """Returns which entries of the inputs a mask of segments keeps.

    Args:
        mask: one row of a mask, `(segments,)`.
        segments: the segments; entries of none are always kept.

    Returns:
        A pytree in the structure and shapes of the labels, in the dtype of the mask.

    Example:
        >>> from jaxinterp.perturbation.segments import fill_segments
        >>> segments = fill_segments(np.array([0, 1, -1]), jnp.ones((1, 3)))
        >>> kept_entries(jnp.array([False, True]), segments).tolist()
        [[False, True, True]]
    """
    mask = jnp.asarray(mask)

    def of_leaf(labels: Any) -> Any:
        return jnp.where(labels < 0, mask.dtype.type(1), mask[jnp.maximum(labels, 0)])

    return jax.tree.map(of_leaf, segments.labels)


def masked(inputs: Inputs, keep: Any, baseline: Any) -> Any:
    """Returns inputs in which a baseline takes the place of what is not kept.

    Args:
        inputs: a batch, an array or a pytree of arrays.
        keep: what is kept, arrays in the structure of the inputs that broadcast against
            them: booleans, or shares between 0 and 1.
        baseline: what takes its place, in the structure and shapes of the inputs.

    Returns:
        The perturbed inputs, in the dtypes of the inputs. Where everything is kept, or
        where the baseline equals them, they are the inputs exactly.

    Raises:
        TypeError: if shares are to be kept of integers, such as tokens.

    Example:
        >>> keep = jnp.array([[True, False]])
        >>> masked(jnp.array([[3.0, 4.0]]), keep, jnp.zeros((1, 2))).tolist()
        [[3.0, 0.0]]
    """

    def of_leaf(x: Any, k: Any, b: Any) -> Any:
        if k.dtype == bool:
            return jnp.where(k, x, b)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            raise TypeError(
                f"A mask of shares mixes inputs with a baseline; those of {x.dtype} "
                "cannot be mixed.\nGive the address of their embedding, such as "
                "`at='Model/Embed_0'`, or write `inputs.astype(jnp.float32)` for "
                "numbers."
            )
        share = k.astype(jnp.result_type(x))
        mixed = share * x + (1 - share) * b
        # Of two equal numbers the mixture may differ by rounding, which would be noise
        # in place of a score that does not change.
        return mixed + jax.lax.stop_gradient(jnp.where(x == b, x - mixed, 0))

    return jax.tree.map(of_leaf, inputs, keep, baseline)
