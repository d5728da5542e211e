r"""Colors whose coordinates vary independently, as those of photographs do not.

Red, green and blue of a photograph rise and fall together, so a step in one of them
alone leaves the colors that exist. Write the color of a pixel as $x = M t$ with
$M M^\top$ proportional to the covariance of colors; then the coordinates $t$ are
uncorrelated and equally large, and a random step in them is a plausible color.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import image_batches

Color = Literal["auto", "imagenet", "i1i2i3"] | Float[Array | np.ndarray, "..."] | None

# A direction of color in which images do not vary keeps so much of the largest
# variance: it can still be reached, and the matrix has an inverse.
_LEAST_VARIANCE = 1e-6


def _normalized(matrix: Any) -> np.ndarray:
    matrix = np.asarray(matrix, np.float64)
    return matrix / np.linalg.norm(matrix, axis=0).max()


COLOR_MATRICES: Mapping[str, np.ndarray] = {
    # Square root of the covariance of the colors of ImageNet, as lucid publishes it.
    "imagenet": _normalized(
        [[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]]
    ),
    # Ohta et al., 1980: (R + G + B) / 3, (R - B) / 2, (2 G - R - B) / 4.
    "i1i2i3": _normalized(
        np.linalg.inv(
            [[1 / 3, 1 / 3, 1 / 3], [1 / 2, 0, -1 / 2], [-1 / 4, 1 / 2, -1 / 4]]
        )
    ),
}


# The mean color of ImageNet, as lucid publishes it.
MEAN_COLORS: Mapping[str, np.ndarray] = {"imagenet": np.array([0.48, 0.46, 0.41])}


def fit_color_matrix(
    images: Float[Array | np.ndarray, "..."]
    | Iterable[Float[Array | np.ndarray, "..."]],
) -> Float[np.ndarray, "channels channels"]:
    r"""Fits the matrix of decorrelated colors to images, of any number of channels.

    $$M = U \sqrt{S} / \max_j \lVert (U \sqrt{S})_{\cdot j} \rVert,
    \quad U S U^\top = \mathrm{cov}(x)$$

    where $x$ are the pixels of all images. Computed in float64, in one pass, in which
    the memory does not grow with the number of images of an iterable.

    Args:
        images: `(count, ..., channels)` in [0, 1], or an iterable of such arrays.

    Returns:
        The matrix, for `fourier(..., color=matrix)`: a column for each coordinate,
        largest variance first, the first entry of each not negative. Variances below a
        millionth of the largest count as that.

    Raises:
        ValueError: if all pixels are the same, or the images are not in [0, 1].
        TypeError: if an iterable yields something that is no array.

    Example:
        >>> gray = jax.random.uniform(jax.random.key(0), (5, 8, 8, 1))
        >>> matrix = fit_color_matrix(jnp.repeat(gray, 2, axis=-1))
        >>> abs(matrix).round(2).tolist()
        [[0.71, 0.0], [0.71, 0.0]]

    References:
        Olah et al., 2017, "Preconditioning and Parameterization"
        [olah2017feature]. The article speaks of a Cholesky factor; the constants
        that come with it are this square root.
    """
    count, shift, total, squares = 0, None, 0.0, 0.0
    for batch in image_batches(images):
        pixels = batch.reshape(-1, batch.shape[-1])
        # About the first mean, so that nothing is lost where the variance is small.
        shift = pixels.mean(axis=0) if shift is None else shift
        centered = pixels - shift[None, :]
        count += len(centered)
        total = total + centered.sum(axis=0)
        squares = squares + centered.T @ centered
    mean = np.asarray(total) / count
    variances, directions = np.linalg.eigh(squares / count - np.outer(mean, mean))
    variances, directions = variances[::-1], directions[:, ::-1]
    if not variances[0] > np.finfo(np.float32).eps ** 2:
        raise ValueError(
            f"All {count} pixels have the same color, so colors have no covariance. "
            "Give images that vary, or write `color=None`."
        )
    variances = np.maximum(variances, _LEAST_VARIANCE * variances[0])
    signs = np.where(directions[0] < 0, -1.0, 1.0)
    return _normalized(directions * (signs * np.sqrt(variances))[None, :])


def recorrelate(
    x: Float[Array | np.ndarray, "*axes channels"],
    matrix: Float[Array | np.ndarray, "channels channels"],
) -> Float[Array, "*axes channels"]:
    r"""Returns the colors of decorrelated coordinates, $x = M t$ at each pixel.

    Args:
        x: the decorrelated coordinates $t$, with the channels on the last axis.
        matrix: the matrix $M$, whose columns are the decorrelated directions.

    Example:
        >>> matrix = jnp.array([[1.0, 0.5], [1.0, -0.5]])
        >>> recorrelate(jnp.array([2.0, 1.0]), matrix).tolist()
        [2.5, 1.5]
    """
    return jnp.einsum("...t,ct->...c", x, matrix, precision="highest")


def decorrelate(
    x: Float[Array | np.ndarray, "*axes channels"],
    matrix: Float[Array | np.ndarray, "channels channels"],
) -> Float[Array, "*axes channels"]:
    r"""Returns the decorrelated coordinates of colors, $t = M^{-1} x$ at each pixel.

    Args:
        x: the colors $x$, with the channels on the last axis.
        matrix: the matrix $M$, whose columns are the decorrelated directions.

    Example:
        >>> matrix = jnp.array([[1.0, 0.5], [1.0, -0.5]])
        >>> decorrelate(jnp.array([2.5, 1.5]), matrix).tolist()
        [2.0, 1.0]
    """
    return recorrelate(x, jnp.linalg.inv(matrix))


def mean_color(color: Color, shape: tuple[int, ...]) -> np.ndarray | float:
    """Returns the color of values that are zero: gray, or a mean that is known.

    Args:
        color: `"auto"`, the name of a matrix, a matrix, or `None`.
        shape: the shape of an image, with the channels last.
    """
    name = _name(color, shape)
    return MEAN_COLORS.get(name, 0.5) if isinstance(name, str) else 0.5


def _name(color: Color, shape: tuple[int, ...]) -> Color:
    """The color that `"auto"` means for images of a shape."""
    if not isinstance(color, str) or color != "auto":
        return color
    # Three channels are colors only in an image: a signal may have three too.
    return "imagenet" if len(shape) == 3 and shape[-1] == 3 else None


def color_matrix(color: Color, shape: tuple[int, ...]) -> np.ndarray | Array | None:
    """Returns the matrix that is meant, or `None` for colors as they are.

    Args:
        color: `"auto"`, the name of a matrix, a matrix, or `None`.
        shape: the shape of an image, with the channels last.

    Raises:
        ValueError: if there is no such name, or the matrix does not fit the channels.
    """
    color = _name(color, shape)
    if color is None:
        return None
    channels = shape[-1]
    if isinstance(color, str):
        if color not in COLOR_MATRICES:
            raise ValueError(
                f"There is no color={color!r}. There are 'auto', "
                f"{', '.join(map(repr, COLOR_MATRICES))}, None, or a matrix."
            )
        color = COLOR_MATRICES[color]
    if not isinstance(color, jax.Array):
        color = np.asarray(color)
    if color.shape != (channels, channels):
        raise ValueError(
            f"A matrix of colors of shape {color.shape} was given for images of "
            f"{channels} channels. Write `color=None`, or "
            "`color=fit_color_matrix(images)` with images of as many channels."
        )
    return color
