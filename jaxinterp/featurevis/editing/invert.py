"""Feature inversion: images that a layer cannot tell from given ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optax

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.comparisons.match import match
from jaxinterp.featurevis.editing.images import activations_of, checked_batch
from jaxinterp.featurevis.optimize.maximize import ADAM, REDIRECTED, Result, maximize
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.regularizers.total_variation import total_variation
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.objectives.objective import Where
from jaxinterp.objectives.reader import Preprocess
from jaxinterp.rules.composite import Composite
from jaxinterp.types import ApplyFn


def invert(
    apply_fn: ApplyFn,
    site: Where,
    variables: Any,
    images: Any,
    *,
    key: Any,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    smoothness: float = 1e-4,
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    batch_size: int | None = None,
    progress: bool = True,
) -> Result:
    r"""Finds pictures that a layer cannot tell from given images.

    $$\max_x -\|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2 - \lambda\, \mathrm{TV}(x)$$

    What the pictures and the images do not share is what the layer has forgotten.

    Args:
        apply_fn: the model.
        site: the layer $a$.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        key: of the noise to start from, and of the transforms.
        parametrization: of the pictures; `fourier` in the shape of the images by
            default.
        transforms: what pictures have to withstand; their activation has to keep its
            shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        smoothness: weight $\lambda$ of the total variation.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        batch_size: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture for each image.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the images are not floats in [0, 1], or as `maximize` does.

    References:
        Mahendran & Vedaldi, 2015, eq. 1 [mahendran2015understanding].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.array([[0.2, 0.9]]).reshape(1, 2, 1)
        >>> result = invert(lambda w, x: jnp.tanh(x), "tanh", None, images,
        ...                 key=jax.random.key(0), parametrization=pixels((2, 1)))
        >>> [round(value, 2) for value in result.images.ravel().tolist()]
        [0.2, 0.9]
    """
    images = checked_batch(images)
    target = activations_of(apply_fn, (site,), variables, images, preprocess)[site]
    objective = match(site, target)
    if is_traced(smoothness) or smoothness:
        objective = objective - smoothness * total_variation()
    return maximize(
        apply_fn,
        objective,
        variables,
        key=key,
        parametrization=parametrization or fourier(images.shape[1:]),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        optimizer=optimizer,
        warmup=warmup,
        batch_size=batch_size,
        progress=progress,
    )
