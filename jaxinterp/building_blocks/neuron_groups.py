r"""`neuron_groups`: a few groups of neurons instead of many single ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.building_blocks.layer import activation_of
from jaxinterp.checks import checked_integer, is_traced
from jaxinterp.fit.factorize import nmf
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


class Groups(NamedTuple):
    """Groups of neurons in the activations of each image, the largest first.

    Attributes:
        spatial: where each group is active, `(batch, *positions, groups)`, from 0 to 1.
        channels: the activation of each group where it is 1, `(batch, groups,
            channels)`: a direction, in the units of the activation.
        residual: what the groups leave out of the activation, in its shape.
    """

    spatial: Any
    channels: Any
    residual: Any


def neuron_groups(
    apply_fn: ApplyFn, *, at: Sites, groups: int = 6, steps: int = 200
) -> Callable[[Variables, Inputs], Groups]:
    r"""Divides the activation of a layer into groups that fire together.

    $$A_{pc} = \sum_g U_{pg} V_{gc} + E_{pc}, \qquad U, V \ge 0, \; \max_p U_{pg} = 1$$

    by nonnegative matrix factorization of the positions and channels of each image on
    its own. Groups of one image mean nothing for another one. Which image a group looks
    for is `maximize` of `direction(at, channels)`, what it contributes to a class is
    `group_attribution`. Groups come in the order of their size
    $\lVert U_g \rVert \lVert V_g \rVert$, so that the order is the same in each run.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer, a site behind a relu, whose activation is `(batch, *positions,
            channels)`.
        groups: how many groups, at most as many as positions and channels.
        steps: how often all groups are improved.

    Returns:
        A function `(variables, inputs)` that returns `Groups`.

    Raises:
        ValueError: if a number is too small; when called, if the site is no such layer,
            there are too many groups, or the activation has negative entries. Under
            `jit` those make all of an image's groups NaN.

    References:
        Olah et al., 2018, on neuron groups [olah2018building].

    Example:
        >>> x = jnp.array([[[0.0, 0.0, 3.0], [2.0, 1.0, 0.0], [4.0, 2.0, 0.0]]])
        >>> find = neuron_groups(lambda w, x: jax.nn.relu(x), at="relu", groups=2)
        >>> found = find(None, x)
        >>> np.abs(np.round(np.asarray(found.spatial, float), 3)).tolist()
        [[[0.0, 1.0], [0.5, 0.0], [1.0, 0.0]]]
        >>> np.abs(np.round(np.asarray(found.channels, float), 3)).tolist()
        [[[4.0, 2.0, 0.0], [0.0, 0.0, 3.0]]]
    """
    groups = checked_integer("groups", groups, 1, call="neuron_groups")
    steps = checked_integer("steps", steps, 0, call="neuron_groups")

    def of_image(matrix: Any) -> tuple[Any, Any, Any]:
        left, right = nmf(matrix, groups, steps=steps)
        peak = left.max(axis=0)
        left = left / jnp.where(peak > 0, peak, 1)[None]
        right = right * peak[:, None]
        sizes = (left**2).sum(axis=0) * (right**2).sum(axis=1)
        order = jnp.argsort(-sizes, stable=True)
        left, right = left[:, order], right[order]
        product = jnp.matmul(left, right, precision="highest")
        return left, right, matrix.astype(product.dtype) - product

    def grouped(variables: Variables, inputs: Inputs) -> Groups:
        cube = activation_of("neuron_groups", apply_fn, at, variables, inputs)
        batch, *positions, channels = cube.shape
        matrices = cube.reshape(batch, np.prod(positions, dtype=int), channels)
        _check(matrices, groups, at)
        spatial, directions, residual = jax.vmap(of_image)(matrices)
        return Groups(
            spatial.reshape(batch, *positions, groups).astype(cube.dtype),
            directions.astype(cube.dtype),
            residual.reshape(cube.shape).astype(cube.dtype),
        )

    return grouped


def _check(matrices: Any, groups: int, at: Sites) -> None:
    """Raises if there is no such factorization."""
    if groups > min(matrices.shape[1:]):
        raise ValueError(
            f"neuron_groups: {groups} groups need as many positions and channels, and "
            f"{str(at)!r} has {matrices.shape[1]} positions and {matrices.shape[2]} "
            "channels.\nWrite a smaller `groups`."
        )
    if is_traced(matrices):
        return
    lowest = np.min(np.asarray(matrices), initial=0)
    if lowest < 0:
        raise ValueError(
            f"neuron_groups: groups add up to activations that are not negative, and "
            f"{str(at)!r} has {lowest:g}.\nTake the site behind the relu."
        )
