"""Transforms that put an image with opacity on a background."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import check_range
from jaxinterp.featurevis.parametrizations.color import Color
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import PerImage
from jaxinterp.featurevis.parametrizations.to_image import checked_scale
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.pytree import pytree, static


@pytree
class CollapseAlpha(Transform):
    """Lays an image over a background, by its opacity.

    The other fields are the arguments of `collapse_alpha`.

    Attributes:
        matrix: the matrix of the random background's colors, or `None` if `color` names
            one.
    """

    background: Any
    matrix: Any
    color: str | None = static()
    sd: float = static()
    decay: float = static()

    def __call__(
        self, key: Array, image: Float[Array, "*axes with_alpha"]
    ) -> Float[Array, "*axes channels"]:
        """Returns the image without its last channel, laid over the background."""
        colors, opacity = image[..., :-1], image[..., -1:]
        backdrop = self.background
        if backdrop is None:
            backdrop = self._random(key, colors)
        backdrop = jnp.broadcast_to(backdrop, colors.shape).astype(colors.dtype)
        return backdrop + opacity * (colors - backdrop)

    def _random(self, key: Array, colors: Array) -> Array:
        noise = fourier(
            colors.shape,
            decay=self.decay,
            color=self.color if self.matrix is None else self.matrix,  # pyright: ignore[reportArgumentType]  one of the names
            scale=self.sd,
            dtype=colors.dtype,
        )
        assert isinstance(noise, PerImage), "fourier images have nothing in common"
        return noise.image(noise.init_one(key))


def collapse_alpha(
    sd: float = 0.5,
    *,
    decay: float = 1.0,
    color: Color = "auto",
    background: Float[Array | np.ndarray, "..."] | float | None = None,
) -> Transform:
    r"""Lays images over a background, random in every step or fixed.

    $$x = \alpha\, p + (1 - \alpha)\, b$$

    where $p$ is the image, $\alpha$ its last channel and $b$ the background. If it
    were always the same, the optimizer would make use of it. Values are mixed as they
    are stored, without undoing the gamma of screens.

    Args:
        sd: the standard deviation of the parameters of the random background, an image
            of `fourier`; 0 is gray.
        decay: the exponent of the background's frequencies.
        color: the decorrelation of the background's colors, as in `fourier`.
        background: the image behind, in [0, 1], instead of a random one; broadcast
            against the image.

    Returns:
        A transform from images with opacity to images without.

    Raises:
        ValueError: if `sd` is negative, or the background is not in [0, 1].

    Example:
        >>> image = jnp.concatenate([jnp.zeros((4, 4, 3)), jnp.ones((4, 4, 1))], -1)
        >>> collapse_alpha()(jax.random.key(0), image).max().item()
        0.0
        >>> collapse_alpha(background=1.0)(jax.random.key(0), image * 0).min().item()
        1.0

    References:
        Mordvintsev et al., 2018, "Generation of Semi-Transparent Patterns"
        [mordvintsev2018differentiable].
    """
    if background is not None:
        background = jnp.asarray(background)
        check_range(background)
    is_matrix = not (color is None or isinstance(color, str))
    matrix = jnp.asarray(color) if is_matrix else None
    name = color if isinstance(color, str) else None
    return CollapseAlpha(background, matrix, name, checked_scale(sd), float(decay))
