"""Feature inversion: images that a layer cannot tell from given ones."""

from __future__ import annotations

from jaxinterp.checks import checked_real, is_traced
from jaxinterp.featurevis.comparisons.match import match
from jaxinterp.featurevis.editing.problem import (
    Problem,
    activations_of,
    checked_batch,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.regularizers.total_variation import total_variation
from jaxinterp.types import ApplyFn, Images, Sites, Variables


def invert(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    images: Images,
    *,
    parametrization: Parametrization | None = None,
    smoothness: float = 1e-4,
) -> Problem:
    r"""Looks for images that a layer cannot tell from given images.

    $$\max_x -\|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2 - \lambda\, \mathrm{TV}(x)$$

    What the optimized images and the given ones do not share is what the activation
    does not tell.

    Args:
        apply_fn: the model.
        site: the layer whose activation $a$ is read.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        parametrization: the parametrization of the optimized images; `fourier` in the
            shape of the images by default.
        smoothness: the weight $\lambda$ of the total variation.

    Returns:
        A `Problem` for `maximize`, with one unit for each image. Under transforms the
        activation has to keep its shape.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the images are not floats in [0, 1].

    References:
        Mahendran & Vedaldi, 2015, eq. 1 [mahendran2015understanding].

    Example:
        >>> from jaxinterp.featurevis import maximize, pixels
        >>> images = jnp.array([[0.2, 0.9]]).reshape(1, 2, 1)
        >>> model = lambda w, x: jnp.tanh(x)
        >>> problem = invert(
        ...     model, "tanh", None, images, parametrization=pixels((2, 1)))
        >>> result = maximize(
        ...     model, variables=None, key=jax.random.key(0), **problem._asdict())
        >>> [round(value, 2) for value in result.images.ravel().tolist()]
        [0.2, 0.9]
    """
    images = checked_batch(images)
    objective = match(site, activations_of(apply_fn, (site,), variables, images)[site])
    if not is_traced(smoothness):
        smoothness = checked_real("smoothness", smoothness, 0, call="invert")
    if is_traced(smoothness) or smoothness:
        objective = objective - smoothness * total_variation()
    return Problem(objective, parametrization or fourier(images.shape[1:]), 1)
