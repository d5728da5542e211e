"""Caricatures: images that exaggerate what a layer sees in given ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optax

from jaxinterp.featurevis.comparisons.caricature import caricature
from jaxinterp.featurevis.editing.images import activations_of, checked_batch
from jaxinterp.featurevis.optimize.maximize import ADAM, REDIRECTED, Result, maximize
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.objectives.objective import Where
from jaxinterp.objectives.reader import Preprocess
from jaxinterp.rules.composite import Composite
from jaxinterp.types import ApplyFn


def caricatures(
    apply_fn: ApplyFn,
    site: Where,
    variables: Any,
    images: Any,
    *,
    key: Any,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    cosine_power: float = 1.0,
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    batch_size: int | None = None,
    progress: bool = True,
) -> Result:
    r"""Draws caricatures: exaggerates what a layer sees in given images.

    $$\max_x \; (a(x) \cdot a(x_0))\,\max(0.1, \cos(a(x), a(x_0)))^p$$

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
        cosine_power: the exponent $p$; without it, large activations count for more
            than similar ones.
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
        Olah et al., 2018, "What Does the Network See?" [olah2018building].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.array([[0.4, 0.6]]).reshape(1, 2, 1)
        >>> result = caricatures(lambda w, x: jnp.tanh(x - 0.5), "tanh", None, images,
        ...                      key=jax.random.key(0), steps=100,
        ...                      parametrization=pixels((2, 1)))
        >>> result.images.round(1).ravel().tolist()
        [0.0, 1.0]
    """
    images = checked_batch(images)
    target = activations_of(apply_fn, (site,), variables, images, preprocess)[site]
    return maximize(
        apply_fn,
        caricature(site, target, cosine_power=cosine_power),
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
