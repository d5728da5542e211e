"""Accentuation: images edited so that they drive an objective more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.featurevis.editing.images import activations_of, checked_batch
from jaxinterp.featurevis.optimize.maximize import ADAM, REDIRECTED, Result, maximize
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import Objective, View, Where
from jaxinterp.objectives.reader import Preprocess
from jaxinterp.objectives.scorer import scorer
from jaxinterp.rules.composite import Composite
from jaxinterp.types import ApplyFn


def accentuate(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    images: Any,
    *,
    key: Any,
    site: Where | None = None,
    weight: float = 1.0,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    steps: int = 128,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    progress: bool = True,
) -> Result:
    r"""Edits images so that they drive an objective more and stay what they are.

    $$\max_x \; s(x) / |s(x_0)| - \lambda \|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2$$

    starting from $x_0$. What becomes clearer in an image is where and what in it drives
    the objective. The objective is divided by its size on the image, so that one weight
    fits all units.

    Args:
        apply_fn: the model.
        objective: $s$, of one unit.
        variables: the weights of the model.
        images: $x_0$, `(batch, ...)` in [0, 1].
        key: of the transforms.
        site: an earlier layer $a$ where the images must stay alike; by default the
            pixels.
        weight: $\lambda$, how much they must.
        parametrization: of the pictures; `fourier` in the shape of the images by
            default.
        transforms: what pictures have to withstand; the activation at `site` has to
            keep its shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture for each image.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the objective has several units, the images are not floats in
            [0, 1], or as `maximize` does.

    References:
        Hamblin et al., 2024, section 3 [hamblin2024feature].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.full((1, 2, 1), 0.5)
        >>> template = jnp.array([[1.0], [-1.0]])
        >>> result = accentuate(
        ...     lambda w, x: jnp.exp(x.reshape(-1, 2) @ w), "exp:0", template, images,
        ...     key=jax.random.key(0), parametrization=pixels((2, 1)))
        >>> bool(result.images[0, 0, 0] > 0.5 > result.images[0, 1, 0])
        True
    """
    images, objective = checked_batch(images), as_objective(objective)
    if np.ndim(weight):
        raise ValueError(
            "accentuate: `weight` is one number for all images, and has shape "
            f"{np.shape(weight)}. Call it for each."
        )
    parametrization = parametrization or fourier(images.shape[1:])
    target = images
    if site is not None:
        target = activations_of(apply_fn, (site,), variables, images, preprocess)[site]
    size = jnp.abs(_scores(apply_fn, objective, variables, images, preprocess))
    scale = _PerPicture(jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 1)[None])
    return maximize(
        apply_fn,
        objective * scale + weight * _Unchanged(site, target[None]),
        variables,
        key=key,
        parametrization=from_image(parametrization, images),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        count=len(images),
        optimizer=optimizer,
        warmup=warmup,
        progress=progress,
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _PerPicture(Objective):
    """A number for each picture of the only unit, `(1, pictures)`."""

    value: Any

    def __call__(self, view: View) -> Any:
        return self.value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Unchanged(Objective):
    """How little each picture differs from its own target, `(1, pictures, ...)`."""

    site: Where | None = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        return () if self.site is None else (self.site,)

    def __call__(self, view: View) -> Any:
        seen = view.images if self.site is None else view.activations[self.site]
        axes = tuple(range(1, seen.ndim))
        change = jnp.square(seen - self.target).sum(axes)
        size = jnp.square(self.target).sum(axes)
        return -change / jnp.where(size > 0, size, 1)


def _scores(
    apply_fn: ApplyFn,
    objective: Objective,
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
) -> Any:
    """An objective of one unit, of images."""
    score, bound = scorer(
        apply_fn, objective, variables, images, preprocess, has_places=False
    )
    if score.count != 1:
        raise ValueError(
            "accentuate() takes an objective of one unit, and this one has "
            f"{score.count}. Call it for each of them."
        )
    return jax.jit(score)(variables, bound, images).pictures[0]
