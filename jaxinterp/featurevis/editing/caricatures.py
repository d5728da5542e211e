"""Caricatures: images that exaggerate what a layer computes of given ones."""

from __future__ import annotations

from jaxinterp.featurevis.comparisons.caricature import caricature
from jaxinterp.featurevis.editing.problem import (
    Problem,
    activations_of,
    checked_batch,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.types import ApplyFn, Images, Sites, Variables


def caricatures(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    images: Images,
    *,
    parametrization: Parametrization | None = None,
    cosine_power: float = 1.0,
) -> Problem:
    r"""Looks for caricatures: exaggerates what a layer computes of given images.

    $$\max_x \; (a(x) \cdot a(x_0))\,\max(0.1, \cos(a(x), a(x_0)))^p$$

    Args:
        apply_fn: the model.
        site: the layer whose activation $a$ is read.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        parametrization: the parametrization of the caricatures; `fourier` in the shape
            of the images by default.
        cosine_power: the exponent $p$; without it, large activations count for more
            than similar ones.

    Returns:
        A `Problem` for `maximize`, with one unit for each image. Under transforms the
        activation has to keep its shape.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the images are not floats in [0, 1].

    References:
        Olah et al., 2018, "What Does the Network See?" [olah2018building].

    Example:
        >>> from jaxinterp.featurevis import maximize, pixels
        >>> images = jnp.array([[0.4, 0.6]]).reshape(1, 2, 1)
        >>> model = lambda w, x: jnp.tanh(x - 0.5)
        >>> problem = caricatures(
        ...     model, "tanh", None, images, parametrization=pixels((2, 1)))
        >>> result = maximize(model, variables=None, key=jax.random.key(0), steps=100,
        ...                   **problem._asdict())
        >>> result.images.round(1).ravel().tolist()
        [0.0, 1.0]
    """
    images = checked_batch(images)
    target = activations_of(apply_fn, (site,), variables, images)[site]
    objective = caricature(site, target, cosine_power=cosine_power)
    return Problem(objective, parametrization or fourier(images.shape[1:]), 1)
