"""Attribution by hiding what is under a window that slides over the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import like, masked_scores
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import shown
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.masks import windows
from jaxinterp.perturbation.positions import has_channels, positions_of
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def occlusion(
    apply_fn: ApplyFn,
    *,
    size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    baseline: Any = 0.0,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by how much the score drops where a window hides the input.

    $$a_i(x) = \frac{1}{|\{w : i \in w\}|} \sum_{w \ni i} \frac{f(x) - f(x_{w \to
    b})}{|w|}$$

    A window $w$ covers `size` positions along each axis and all channels; in $x_{w \to
    b}$ a baseline takes their place. The drop is shared equally by the $|w|$ entries of
    the window, and the mean is over the windows that cover an entry: with windows that
    do not overlap, the sum over a window is its drop, and the attributions of a linear
    score add up to $f(x) - f(b)$. Times $|w|$ they are the mean drop around an entry,
    as other libraries show it. Cost: a forward pass for each window, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        size: the length of the window along every axis of positions, or along each: of
            images `(batch, height, width, channels)` two. An array `(batch, n)` has one
            axis of positions and no channels. Of several arrays one at a time is
            hidden.
        stride: by how much the window moves on, along every axis or along each; by
            default by its size. The last window ends with the axis.
        baseline: what is put in place of what the window hides: a number, an array (or
            a pytree like `inputs`) that broadcasts against the inputs, or a function
            `(inputs, key) -> baseline`. With `at`, that of the activation.
        batch_size: the number of windows evaluated at once; by default as many as make
            16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score` per entry. Inputs may be
        integers such as tokens; their attributions have the dtype of the score.

    Raises:
        ValueError: if `batch_size` is not positive; when called, if the window does not
            fit the inputs or skips positions, or the baseline does not broadcast.

    References:
        Zeiler and Fergus, 2014 [zeiler2014visualizing].

    Example:
        >>> attribute = occlusion(lambda w, x: x @ w, size=2)
        >>> weights = jnp.array([[1.0], [2.0], [3.0], [4.0]])
        >>> attribute(weights, jnp.ones((1, 4)), 0).tolist()
        [[1.5, 1.5, 3.5, 3.5]]
    """
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(
        model, score_fn, name="occlusion", batch_size=batch_size, keep=_outside
    )

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        needs = {"needs_slopes": False, "channels_last": True}
        place = place_of(*call, at=at, name="occlusion", **needs)
        start = place.filled(baseline, key)
        leaves, tree = jax.tree.flatten(place.array)
        attributions = []
        for number, leaf in enumerate(leaves):
            axes = [windows(*axis) for axis in _axes(leaf.shape, size, stride)]
            values = scores(place, start, number, _masks(axes))
            attributions.append(_shared(values, axes, leaf.shape))
        attributions = like(place.array, tree.unflatten(attributions))
        return place.shaped(at, place.in_model(attributions))

    return attribute


def _axes(
    shape: tuple[int, ...],
    size: int | Sequence[int],
    stride: int | Sequence[int] | None,
) -> list[tuple[int, int, int]]:
    """The length, the size and the stride of each axis of positions of an array."""
    lengths = positions_of(shape)

    def each(name: str, value: Any) -> list[Any]:
        is_several = isinstance(value, Sequence) and not isinstance(value, str)
        values = list(value) if is_several else [value] * len(lengths)
        if len(values) != len(lengths):
            raise ValueError(
                f"occlusion: `{name}` is {shown(value)}, and an array of shape {shape} "
                f"has positions along {len(lengths)} axes.\nGive one integer for all "
                "axes, or one for each."
            )
        return values

    sizes = each("size", size)
    strides = sizes if stride is None else each("stride", stride)
    return list(zip(lengths, sizes, strides, strict=True))


def _masks(axes: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Whether a window hides anything, and which positions of each axis it covers.

    The first hides nothing; then all windows follow, row by row.
    """
    count = math.prod(len(rows) for rows in axes)
    numbers = np.indices([len(rows) for rows in axes]).reshape(len(axes), count)
    covered = [
        rows[np.append(0, index)] for rows, index in zip(axes, numbers, strict=True)
    ]
    return np.arange(1 + count) > 0, *covered


def _outside(number: int, mask: Any, array: Any) -> Any:
    """What is kept of each array: the outside of a window in one of them."""
    leaves, tree = jax.tree.flatten(array)
    kept = [jnp.ones((1,) * leaf.ndim, bool) for leaf in leaves]
    window, *covered = mask
    for row in covered:
        window = window[..., None] & jnp.expand_dims(row, tuple(range(window.ndim)))
    window = window.reshape(1, *window.shape, *[1] * has_channels(leaves[number].shape))
    return tree.unflatten([*kept[:number], ~window, *kept[number + 1 :]])


def _shared(values: Any, axes: list[np.ndarray], shape: tuple[int, ...]) -> Any:
    """The drops of the score under windows, shared by the entries that they cover.

    Args:
        values: the scores, of what is not hidden and then of each window.
        axes: which positions of each axis the windows cover.
        shape: the shape of the array.
    """
    drops = values[:1] - values[1:]
    drops = drops.reshape(*[len(rows) for rows in axes], drops.shape[1])
    for rows in axes:
        shares = jnp.asarray(rows / rows.sum(0) / rows.sum(1)[0], drops.dtype)
        # Each time the first axis, of windows, becomes the last one, of positions.
        drops = jnp.tensordot(drops, shares, ((0,), (0,)), precision="highest")
    if not has_channels(shape):
        return drops
    return jnp.broadcast_to(drops[..., None] / shape[-1], shape)
