"""Accentuation: images edited so that they drive an objective more."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_real, is_traced
from jaxinterp.featurevis.editing.problem import (
    Problem,
    activations_of,
    checked_batch,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import Number, Objective, View
from jaxinterp.objectives.scorer import scorer
from jaxinterp.pytree import pytree, static
from jaxinterp.types import ApplyFn, Images, Sites, Variables


def accentuate(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    images: Images,
    *,
    site: Sites | None = None,
    weight: float = 1.0,
    parametrization: Parametrization | None = None,
) -> Problem:
    r"""Looks for edits of images that drive an objective more and change little else.

    $$\max_x \; s(x) / |s(x_0)| - \lambda \|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2$$

    starting from $x_0$. What becomes clearer in an image is where and what in it drives
    the objective. The objective is divided by its size on the image, so that one weight
    fits all units. A few steps suffice: `maximize(..., steps=128)`.

    Args:
        apply_fn: the model.
        objective: the objective $s$, of one unit.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        site: an earlier layer $a$ where the images must stay alike; by default the
            pixels.
        weight: $\lambda$, the weight of what changes at `site`.
        parametrization: the parametrization of the edited images; `fourier` in the
            shape of the images by default.

    Returns:
        A `Problem` for `maximize`, of one unit with an image for each of `images`.
        Under transforms the activation at `site` has to keep its shape.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the objective has several units, the images are not floats in
            [0, 1], or there are several weights.

    References:
        Hamblin et al., 2024, section 3 [hamblin2024feature].

    Example:
        >>> from jaxinterp.featurevis import maximize, pixels
        >>> images = jnp.full((1, 2, 1), 0.5)
        >>> template = jnp.array([[1.0], [-1.0]])
        >>> model = lambda w, x: jnp.exp(x.reshape(-1, 2) @ w)
        >>> problem = accentuate(
        ...     model, "exp:0", template, images, parametrization=pixels((2, 1)))
        >>> result = maximize(model, variables=template, key=jax.random.key(0),
        ...                   steps=128, **problem._asdict())
        >>> bool(result.images[0, 0, 0] > 0.5 > result.images[0, 1, 0])
        True
    """
    images, objective = checked_batch(images), as_objective(objective)
    if not is_traced(weight) and not np.ndim(weight):
        weight = checked_real("weight", weight, call="accentuate")
    if np.ndim(weight):
        raise ValueError(
            "accentuate: `weight` is one number for all images, and has shape "
            f"{np.shape(weight)}. Call it for each."
        )
    target = images
    if site is not None:
        target = activations_of(apply_fn, (site,), variables, images)[site]
    size = jnp.abs(_scores(apply_fn, objective, variables, images))
    scale = Number(jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 1)[None])
    start = from_image(parametrization or fourier(images.shape[1:]), images)
    objective = objective * scale + weight * _Unchanged(site, target[None])
    return Problem(objective, start, len(images))


@pytree
class _Unchanged(Objective):
    """How little each image differs from its own target, `(1, images, ...)`."""

    site: Sites | None = static()
    target: Any

    def __call__(self, view: View) -> Any:
        value = view.images if self.site is None else view.activations[self.site]
        axes = tuple(range(1, value.ndim))
        change = jnp.square(value - self.target).sum(axes)
        size = jnp.square(self.target).sum(axes)
        return -change / jnp.where(size > 0, size, 1)


def _scores(
    apply_fn: ApplyFn, objective: Objective, variables: Variables, images: Images
) -> Any:
    """The scores `(images,)` of an objective of one unit."""
    score, bound = scorer(apply_fn, objective, variables, images, has_places=False)
    if score.count != 1:
        raise ValueError(
            "accentuate() takes an objective of one unit, and this one has "
            f"{score.count}. Call it for each of them."
        )
    return jax.jit(score)(variables, bound, images).images[0]
