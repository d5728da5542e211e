"""Pictures with a channel of opacity: what of a picture matters to the unit.

The picture is laid over a background that is new in every step. What the unit does
not need may then be transparent, and an objective that also asks for little opacity
makes it so.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.featurevis.canvas import checked_scale
from jaxinterp.featurevis.color import Color
from jaxinterp.featurevis.fourier import fourier
from jaxinterp.featurevis.objective import Objective, View
from jaxinterp.featurevis.parametrization import (
    Parametrization,
    PerImage,
    check_range,
    checked_images,
)
from jaxinterp.featurevis.transform import Transform


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class WithAlpha(Parametrization):
    """A picture and its opacity, each with a parametrization.

    Attributes:
        picture: parametrization of the channels of color.
        opacity: parametrization of one channel.
        shape: of one picture with its opacity.
    """

    picture: Any
    opacity: Any
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of `picture` and of `opacity`."""
        for_picture, for_opacity = jax.random.split(key)
        return {
            "picture": self.picture.init(for_picture, count),
            "opacity": self.opacity.init(for_opacity, count),
        }

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the pictures, the opacity in the last channel."""
        picture = self.picture.images(params["picture"])
        opacity = self.opacity.images(params["opacity"])
        return jnp.concatenate([picture, opacity.astype(picture.dtype)], axis=-1)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose pictures are the given ones."""
        images = checked_images(images, self.shape)
        return {
            "picture": self.picture.inverse(images[..., :-1]),
            "opacity": self.opacity.inverse(images[..., -1:]),
        }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class CollapseAlpha(Transform):
    """Lays a picture over a background, by its opacity.

    Attributes:
        background: what lies behind; `None` for a new random picture each time.
        matrix: of the random picture's colors, if one was given.
        color: else the name of one, or `None`.
        sd: standard deviation of the random picture's parameters.
        decay: exponent of its frequencies.
    """

    background: Any
    matrix: Any
    color: str | None = dataclasses.field(metadata={"static": True})
    sd: float = dataclasses.field(metadata={"static": True})
    decay: float = dataclasses.field(metadata={"static": True})

    def __call__(
        self, key: Array, image: Float[Array, "*axes with_alpha"]
    ) -> Float[Array, "*axes channels"]:
        """Returns the picture without its last channel, laid over the background."""
        picture, opacity = image[..., :-1], image[..., -1:]
        behind = self.background
        if behind is None:
            behind = self._random(key, picture)
        behind = jnp.broadcast_to(behind, picture.shape).astype(picture.dtype)
        return behind + opacity * (picture - behind)

    def _random(self, key: Array, picture: Array) -> Array:
        noise = fourier(
            picture.shape,
            decay=self.decay,
            color=self.color if self.matrix is None else self.matrix,  # pyright: ignore[reportArgumentType]  one of the names
            scale=self.sd,
            dtype=picture.dtype,
        )
        assert isinstance(noise, PerImage), "fourier pictures have nothing in common"
        return noise.image(noise.init_one(key))


def with_alpha(
    parametrization: Parametrization, *, opacity: Parametrization | None = None
) -> Parametrization:
    """Adds a channel of opacity, the last.

    Put `collapse_alpha()` before the other transforms: the model sees the picture over
    a background.

    Args:
        parametrization: of the picture.
        opacity: a parametrization of its opacity, of one channel; `fourier` by default.

    Returns:
        A parametrization whose pictures have one channel more, 1 where they are opaque.

    Raises:
        ValueError: if the opacity is of another size, or has more than one channel.

    Example:
        >>> picture = with_alpha(fourier((8, 9, 3)))
        >>> picture.images(picture.init(jax.random.key(0), 2)).shape
        (2, 8, 9, 4)

    References:
        Mordvintsev et al., 2018, "Generation of Semi-Transparent Patterns"
        [mordvintsev2018differentiable].
    """
    *spatial, channels = parametrization.shape
    wanted = (*spatial, 1)
    if opacity is None:
        drawn = jax.eval_shape(
            lambda key: parametrization.images(parametrization.init(key, 1)),
            jax.random.key(0),
        )
        opacity = fourier(wanted, dtype=drawn.dtype)
    if opacity.shape != wanted:
        raise ValueError(
            f"The opacity of pictures of shape {parametrization.shape} has shape "
            f"{wanted}, and the one that was given has {opacity.shape}. Write "
            f"`opacity=fourier({wanted})`."
        )
    return WithAlpha(parametrization, opacity, (*spatial, channels + 1))


def collapse_alpha(
    sd: float = 0.5,
    *,
    decay: float = 1.0,
    color: Color = "auto",
    background: Float[Array | np.ndarray, "..."] | float | None = None,
) -> Transform:
    r"""Lays pictures over a background, random in every step or given.

    $$x = \alpha\, p + (1 - \alpha)\, b$$

    where $p$ is the picture, $\alpha$ its last channel and $b$ the background. If it
    were always the same, the optimizer would make use of it. Values are mixed as they
    are stored, without undoing the gamma of screens.

    Args:
        sd: standard deviation of the parameters of the random background, a picture of
            `fourier`; 0 is gray.
        decay: exponent of the background's frequencies.
        color: of the background, as in `fourier`.
        background: what lies behind instead of a random picture, in [0, 1]; broadcast
            against the picture.

    Returns:
        A transform from pictures with opacity to pictures without.

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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class OpacityPenalty(Objective):
    """The mean opacity of a picture."""

    def __call__(self, view: View) -> Any:
        """Returns the mean of the last channel."""
        alpha = view.images[..., -1].astype(jnp.float32)
        return alpha.mean(axis=tuple(range(1, alpha.ndim)))


def opacity_penalty() -> Objective:
    r"""Penalizes opacity, so that only what a unit needs is left: $\overline{\alpha}$.

    For the pictures of `with_alpha`: `channel("mixed4a", 3) - 5 * opacity_penalty()`.

    Returns:
        A penalty in [0, 1].

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
        >>> images = jnp.zeros((1, 1, 2, 2, 4)).at[..., 0, 3].set(1.0)
        >>> evaluate(opacity_penalty(), View({}, None, images, 0), 1).tolist()
        [[0.5]]

    References:
        Mordvintsev et al., 2018, "Generation of Semi-Transparent Patterns"
        [mordvintsev2018differentiable].
    """
    return OpacityPenalty()
