"""Attribution along a path from a blurred input: blur integrated gradients."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.integrated_gradients import quadrature
from jaxinterp.attribution.gradients.path import path_integral
from jaxinterp.checks import checked_integer, checked_positive
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.positions import positions_of
from jaxinterp.types import ApplyFn, Key, Sites


@method
def blur_integrated_gradients(
    apply_fn: ApplyFn,
    *,
    max_sigma: float = 50.0,
    steps: int = 100,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs)` minus that of blurred `inputs`, as they get sharper.

    $$a_i(x) = -\int_0^{\sigma_\max} \partial_i f(x * G_\sigma)\,\frac{\partial (x *
    G_\sigma)_i}{\partial \sigma}\,d\sigma$$

    $G_\sigma$ is the Gaussian of standard deviation $\sigma$ along all axes of
    positions, on the grid, with weights that add up to 1; beyond the edges the input is
    zero, so that a wide blur darkens it. No baseline is chosen, and no point of the
    path has structure that the input lacks. The integral is a Gauss-Legendre sum in
    $\log(1 + \sigma)$, dense where the input is nearly sharp; attributions add up to
    $f(x) - f(x * G_{\sigma_\max})$ only as `steps` grows. Cost: `steps` backward
    passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        max_sigma: $\sigma_\max$, where the path starts, in positions. An array `(batch,
            n)` has one axis of positions and no channels: of a table, whose columns
            have no neighbors, take `integrated_gradients`.
        steps: the number of gradients along the path.
        batch_size: the number of points of the path computed at once; by default as
            many as make 16 MB of explained arrays of the whole batch together, at
            least one.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs;
            one site only. For a glob or a selector a mapping from its address is
            returned.

    Returns:
        An attribution function, in the units of `score`; a positive entry raised the
        score.

    Raises:
        ValueError: if `max_sigma`, `steps` or `batch_size` is not positive, or when
            called, if there are no positions to be blurred.

    References:
        Xu et al., 2020 [xu2020attribution], who take a left Riemann sum in $\sigma$; it
        needs many more steps, as an input changes most while $\sigma$ is small.

    Example:
        >>> attribute = blur_integrated_gradients(lambda w, x: x @ w, max_sigma=9.0)
        >>> weights, x = jnp.array([[1.0], [0.0]]), jnp.array([[4.0, 2.0]])
        >>> attribute(weights, x, 0).round().tolist()
        [[4.0, 0.0]]
    """
    name = "blur_integrated_gradients"
    max_sigma = checked_positive("max_sigma", max_sigma, call=name)
    steps = checked_integer("steps", steps, 1, call=name)
    nodes, weights = quadrature("gausslegendre", steps)

    def path_to(array: Any, key: Key) -> _Sharpening:
        for leaf in jax.tree.leaves(array):
            if not positions_of(leaf.shape):
                raise ValueError(
                    f"{name} blurs positions, and an array of shape {leaf.shape} has "
                    "none.\nGive images (batch, height, width, channels), or sequences "
                    "(batch, length) or (batch, length, channels)."
                )
        return _Sharpening(array, max_sigma)

    options = {"batch_size": batch_size, "score": score, "at": at}
    options["channels_last"] = True
    return path_integral(apply_fn, path_to, nodes, weights, name=name, **options)


class _Sharpening(NamedTuple):
    r"""A path from a blurred array to the array, evenly in $\log(1 + \sigma)$.

    Attributes:
        array: where the path ends.
        max_sigma: the standard deviation at its start, in positions.
    """

    array: Any
    max_sigma: float

    def __call__(self, t: Any) -> Any:
        """Returns the array, blurred less the closer `t` is to 1."""

        def of_leaf(x: Any) -> Any:
            wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            # A narrower Gaussian is none: its next weight is no number above 0.
            sigma = (1 + self.max_sigma) ** (1 - t) - 1
            sigma = jnp.maximum(sigma, 1e-3).astype(wide.dtype)
            for axis, length in enumerate(positions_of(x.shape), start=1):
                weights = _gaussian(length, sigma, self.max_sigma)
                wide = jnp.moveaxis(wide, axis, -1)
                wide = jnp.matmul(wide, weights, precision="highest")
                wide = jnp.moveaxis(wide, -1, axis)
            return wide.astype(x.dtype)

        return jax.tree.map(of_leaf, self.array)


def _gaussian(length: int, sigma: Any, max_sigma: float) -> Any:
    """The weight of each position for each other; of the whole grid they sum to 1."""

    def bell(distance: Any) -> Any:
        return jnp.exp(-((distance / sigma) ** 2) / 2)

    places = jnp.arange(length, dtype=sigma.dtype)
    reach = jnp.arange(1, math.ceil(9 * max_sigma) + 2, dtype=sigma.dtype)
    return bell(places[:, None] - places[None]) / (1 + 2 * bell(reach).sum())
