"""A penalty on the distance from what natural images look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxinterp.featurevis.regularizers.neighbors import image_shape, in_full, total
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static


@pytree
class PriorDistance(Objective):
    """The distance to images that are plausible.

    Attributes:
        images: the plausible image of each unit, `(units, ...)`; or `None`.
        function: a function from the images that are made to plausible ones; or
            `None`.
    """

    images: Any
    function: Callable[[Any], Any] | None = static()

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if the prior is of the images' shape."""
        shape = image_shape(shapes)
        if self.images is not None and self.images.shape[1:] != shape:
            raise ValueError(
                "prior_distance() takes one image for each unit, (units, "
                f"{', '.join(map(str, shape))}), and was given "
                f"{self.images.dtype}{list(self.images.shape)}. Write `image[None]` "
                "for one that all units share."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the squared distance."""
        images = in_full(view)
        if self.function is None:
            return total((images - self.images[None].astype(images.dtype)) ** 2)
        prior = jnp.asarray(lax.stop_gradient(self.function(view.images)))
        if prior.shape != images.shape:
            raise ValueError(
                "The function of prior_distance() goes from images "
                f"{list(images.shape)} to images of the same shape, and gave "
                f"{prior.dtype}{list(prior.shape)}."
            )
        return total((images - prior.astype(images.dtype)) ** 2)


def prior_distance(prior: Any) -> Objective:
    r"""Penalizes the squared distance to a plausible image: $\sum (x - p)^2$.

    Args:
        prior: $p$, one image for each unit, `(units, ...)`, or `(1, ...)` for all;
            or a function from images `(images, ...)` to the plausible ones nearest
            to them, such as a denoiser or an autoencoder. No gradient flows through
            the function, so the image is drawn to what it gives.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        TypeError: if it is neither floats nor a function.
        ValueError: where it is used, if shapes differ.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 4, 4, 3)), 0)
        >>> evaluate(prior_distance(jnp.zeros((1, 4, 4, 3))), view, 1).tolist()
        [[48.0]]

    References:
        Nguyen et al., 2017, section 3.2: a denoiser as a prior [nguyen2017plug].
    """
    if callable(prior):
        return PriorDistance(None, prior)
    images = jnp.asarray(prior)
    if images.ndim < 2 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            "prior_distance() takes floats (units, ..., channels) or a function of "
            f"images; {images.dtype}{list(images.shape)} was given."
        )
    return PriorDistance(images, None)
