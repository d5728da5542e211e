r"""Regularizers: what a picture costs, to be subtracted from an objective.

Each is an objective that reads the pictures $x$ themselves, before any transform, and
gives one number per picture, at least 0: `channel("mixed4a", 3) - 0.25 *
total_variation()`. Pictures may have any rank, with channels last; sums are over all
entries of one picture, so that a weight that fits one size is too weak for a smaller.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.featurevis.integers import checked_integer, is_integer
from jaxinterp.featurevis.norms import in_full, real_number, total
from jaxinterp.featurevis.objective import Objective, Shapes, View


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TotalVariation(Objective):
    """Differences between neighbors."""

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if pictures have neighbors."""
        _check_spatial("total_variation", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the sum of absolute differences."""
        pictures = in_full(view)
        return sum(total(jnp.abs(jnp.diff(pictures, axis=a))) for a in _axes(pictures))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BlurPenalty(Objective):
    """The distance to a blurred picture, which draws the picture there.

    Attributes:
        width: of the kernel.
    """

    width: int = dataclasses.field(metadata={"static": True})

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if pictures have neighbors."""
        _check_spatial("blur_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns half the squared distance."""
        pictures = in_full(view)
        blurred = lax.stop_gradient(_blur(pictures, self.width))
        return total((pictures - blurred) ** 2) / 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class FrequencyPenalty(Objective):
    """Energy, where natural pictures have little.

    Attributes:
        decay: how fast their amplitude falls with frequency.
    """

    decay: float = dataclasses.field(metadata={"static": True})

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if pictures have frequencies."""
        _check_spatial("frequency_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the weighted energy."""
        pictures = in_full(view)
        axes = _axes(pictures)
        squares: Any = 0.0
        for axis in axes:
            frequencies = np.fft.fftfreq(pictures.shape[axis])
            squares = squares + _along(frequencies**2, axis, pictures.ndim)
        # The power of zero is set apart: without decay, a constant is energy as well,
        # but a penalty on frequencies has nothing against it.
        weights = np.where(squares > 0, (4 * squares) ** self.decay, 0.0)
        spectrum = functools.reduce(
            lambda x, axis: jnp.fft.fft(x, axis=axis, norm="ortho"), axes, pictures
        )
        energy = spectrum.real**2 + spectrum.imag**2
        return total(jnp.asarray(weights, energy.dtype) * energy)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BoundaryPenalty(Objective):
    """What happens near the border of a picture.

    Attributes:
        width: of the border.
        constant: the brightness that costs nothing there.
        weights: of each place instead, `(1, *places, 1)`; `None` for the border.
    """

    width: int = dataclasses.field(metadata={"static": True})
    constant: float = dataclasses.field(metadata={"static": True})
    weights: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if something is left within the border."""
        _check_spatial("boundary_penalty", shapes)
        if self.weights is not None:
            if self.weights.shape[1:-1] != shapes.image[:-1]:
                raise ValueError(
                    "boundary_penalty(where=...) has a weight for each place of a "
                    f"picture, {shapes.image[:-1]}, and was given "
                    f"{self.weights.shape[1:-1]}."
                )
            return self
        if 2 * self.width >= min(shapes.image[:-1]):
            raise ValueError(
                f"boundary_penalty(width={self.width}) leaves nothing of a picture "
                f"{shapes.image} within its border. Write a width below "
                f"{min(shapes.image[:-1]) / 2:g}."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the sum over the border."""
        pictures = in_full(view)
        cost = (_blur(pictures, 5) - pictures) ** 2
        cost = cost + 0.8 * (pictures - self.constant) ** 2
        if self.weights is not None:
            return total(cost * self.weights[None].astype(cost.dtype))
        inside: Any = 1.0
        for axis in _axes(pictures):
            place = np.arange(pictures.shape[axis])
            nearest = np.minimum(place, place[::-1])
            inside = inside * _along(nearest >= self.width, axis, pictures.ndim)
        return total(cost * jnp.asarray(1 - inside, cost.dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PriorDistance(Objective):
    """The distance to pictures that are plausible.

    Attributes:
        images: of each unit, `(units, ...)`; or `None`.
        function: from pictures to pictures, where there are no images.
    """

    images: Any
    function: Callable[[Any], Any] | None = dataclasses.field(metadata={"static": True})

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if the prior is of the pictures' shape."""
        if self.images is not None and self.images.shape[1:] != shapes.image:
            raise ValueError(
                "prior_distance() takes one picture for each unit, (units, "
                f"{', '.join(map(str, shapes.image))}), and was given "
                f"{self.images.dtype}{list(self.images.shape)}. Write `picture[None]` "
                "for one that all units share."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the squared distance."""
        pictures = in_full(view)
        if self.function is None:
            return total((pictures - self.images[None].astype(pictures.dtype)) ** 2)
        prior = jnp.asarray(lax.stop_gradient(self.function(view.images)))
        if prior.shape != pictures.shape:
            raise ValueError(
                "The function of prior_distance() goes from pictures "
                f"{list(pictures.shape)} to pictures of the same shape, and gave "
                f"{prior.dtype}{list(prior.shape)}."
            )
        return total((pictures - prior.astype(pictures.dtype)) ** 2)


def total_variation() -> Objective:
    r"""Penalizes differences between neighbors: $\sum_d \sum_i |x_{i + e_d} - x_i|$.

    The directions $d$ are all axes of a picture but the last, the channels.

    Returns:
        A penalty in units of brightness times pixels; the article's weight is 0.25.

    Raises:
        ValueError: where it is used, if pictures have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
        >>> view = View({}, None, jnp.array([[[[0.0], [1.0], [1.0]]]]), 0)
        >>> evaluate(total_variation(), view, 1).tolist()
        [[1.0]]

    References:
        Mahendran and Vedaldi, 2015, section 2, which squares the differences
        [mahendran2015understanding]; absolute, as here, in lucid.
    """
    return TotalVariation()


def blur_penalty(width: int = 3) -> Objective:
    r"""Draws a picture to its own blur: $\frac12 \sum (x - \mathrm{blur}(x))^2$.

    No gradient flows through the blur, so that a step of size 1 replaces the picture by
    it. The kernel is 1, on its rim one half, over the sum of those of its weights that
    lie on the picture; lucid takes zeros beyond the border, which darkens it.

    Args:
        width: of the kernel in pixels, odd.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        ValueError: if the width is no odd number from 3; where it is used, if pictures
            have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 4, 4, 3)), 0)
        >>> evaluate(blur_penalty(), view, 1).tolist()
        [[0.0]]

    References:
        Olah et al., 2017, section on regularization [olah2017feature].
    """
    if not is_integer(width) or int(width) < 3 or int(width) % 2 == 0:
        raise ValueError(f"blur_penalty() takes an odd width from 3, not {width!r}.")
    return BlurPenalty(int(width))


def frequency_penalty(decay: float = 1.0) -> Objective:
    r"""Penalizes energy by how far it exceeds a spectrum that decays with frequency.

    $$\sum_{f \ne 0} \left(\frac{|f|}{1/2}\right)^{2\alpha} |\hat x_f|^2$$

    $\hat x$ is the orthonormal Fourier transform and $f$ the frequency in cycles per
    pixel. The amplitudes of natural pictures fall like $|f|^{-\alpha}$ with $\alpha$
    near 1, so each of their frequencies costs the same; a checkerboard costs most.

    Args:
        decay: $\alpha$; with 0, the penalty is the variance times the number of pixels.

    Returns:
        A penalty in units of squared brightness. Time grows with that of the transform.

    Raises:
        TypeError: if the decay is no number.
        ValueError: if it is negative; where it is used, if pictures have no axis but
            the channels.

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
        >>> board = jnp.array([[0.0, 1.0], [1.0, 0.0]])[None, None, :, :, None]
        >>> evaluate(frequency_penalty(), View({}, None, board, 0), 1).round(3).tolist()
        [[2.0]]

    References:
        Field, 1987, on the amplitudes of natural pictures [field1987relations].
    """
    if real_number("frequency_penalty", decay) < 0:
        raise ValueError(f"decay of frequency_penalty() is 0 or more, not {decay!r}.")
    return FrequencyPenalty(float(decay))


def boundary_penalty(
    width: int = 20, constant: float = 0.5, *, where: Any = None
) -> Objective:
    r"""Keeps the border $B$ of a picture calm.

    $$\sum_{i \in B} (\mathrm{blur}(x) - x)_i^2 + 0.8\,(x_i - c)^2$$

    The blur is that of `blur_penalty` with width 5; the gradient flows through it.

    Args:
        width: of the border in pixels.
        constant: the brightness $c$ that costs nothing there.
        where: a weight for each place instead of the border, `(*places)`, such as 1
            outside of a disc and 0 within.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        TypeError: if the constant is no number.
        ValueError: if the width is no integer from 1; where it is used, if it leaves
            nothing of the picture, `where` has another shape than its places, or
            pictures have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
        >>> view = View({}, None, jnp.full((1, 1, 8, 8, 3), 0.5), 0)
        >>> evaluate(boundary_penalty(2), view, 1).tolist()
        [[0.0]]

    References:
        lucid, `lucid/optvis/objectives.py`, `penalize_boundary_complexity`.
    """
    width = checked_integer("width", width, 1, call="boundary_penalty")
    weights = None if where is None else jnp.asarray(where, float)[None, ..., None]
    return BoundaryPenalty(width, real_number("boundary_penalty", constant), weights)


def prior_distance(prior: Any) -> Objective:
    r"""Penalizes the squared distance to a plausible picture: $\sum (x - p)^2$.

    Args:
        prior: $p$, one picture for each unit, `(units, ...)`, or `(1, ...)` for all;
            or a function from pictures `(pictures, ...)` to the plausible ones nearest
            to them, such as a denoiser or an autoencoder. No gradient flows through
            the function, so the picture is drawn to what it gives.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        TypeError: if it is neither floats nor a function.
        ValueError: where it is used, if shapes differ.

    Example:
        >>> from jaxinterp.featurevis.objective import View, evaluate
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
            f"pictures; {images.dtype}{list(images.shape)} was given."
        )
    return PriorDistance(images, None)


def _check_spatial(name: str, shapes: Shapes) -> None:
    if len(shapes.image) < 2:
        raise ValueError(
            f"{name}() is about neighbors, and a picture of shape {shapes.image} has "
            "channels alone. Give pictures an axis before them."
        )


def _axes(pictures: Any) -> tuple[int, ...]:
    """Returns the axes that are neither pictures nor channels."""
    return tuple(range(1, pictures.ndim - 1))


def _along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Returns values of one axis, so that they broadcast to an array."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _blur(pictures: Any, width: int) -> Any:
    """Returns pictures under lucid's kernel: 1 inside and one half on its rim.

    It is the sum of two boxes, the larger of which reaches the rim. Near the border, it
    is the mean of the pixels that there are.
    """
    once = jnp.ones((1, *pictures.shape[1:-1], 1), pictures.dtype)
    weight = _box(once, width) + _box(once, width - 2)
    return (_box(pictures, width) + _box(pictures, width - 2)) / weight


def _box(pictures: Any, width: int) -> Any:
    """Returns sums over neighbors along all axes but pictures and channels."""
    zero, still = np.zeros((), pictures.dtype), (1,) * pictures.ndim
    for axis in _axes(pictures):
        window = tuple(width if i == axis else 1 for i in range(pictures.ndim))
        pictures = lax.reduce_window(pictures, zero, lax.add, window, still, "SAME")
    return pictures
