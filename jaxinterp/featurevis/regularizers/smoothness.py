"""Regularizers: what a picture costs, to be subtracted from an objective.

Each is an objective that reads the pictures $x$ themselves, before any transform, and
gives one number per picture, at least 0: `channel("mixed4a", 3) - 0.25 *
total_variation()`. Pictures may have any rank, with channels last; sums are over all
entries of one picture, so that a weight that fits one size is too weak for a smaller.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.checks import checked_real, is_integer
from jaxinterp.featurevis.regularizers.axes import (
    along,
    blurred,
    check_spatial,
    spatial_axes,
)
from jaxinterp.featurevis.regularizers.norms import in_full, total
from jaxinterp.objectives.objective import Objective, Shapes, View


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TotalVariation(Objective):
    """Differences between neighbors."""

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if pictures have neighbors."""
        check_spatial("total_variation", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the sum of absolute differences."""
        pictures = in_full(view)
        return sum(
            total(jnp.abs(jnp.diff(pictures, axis=a))) for a in spatial_axes(pictures)
        )


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
        check_spatial("blur_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns half the squared distance."""
        pictures = in_full(view)
        smooth = lax.stop_gradient(blurred(pictures, self.width))
        return total((pictures - smooth) ** 2) / 2


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
        check_spatial("frequency_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the weighted energy."""
        pictures = in_full(view)
        axes = spatial_axes(pictures)
        squares: Any = 0.0
        for axis in axes:
            frequencies = np.fft.fftfreq(pictures.shape[axis])
            squares = squares + along(frequencies**2, axis, pictures.ndim)
        # The power of zero is set apart: without decay, a constant is energy as well,
        # but a penalty on frequencies has nothing against it.
        weights = np.where(squares > 0, (4 * squares) ** self.decay, 0.0)
        spectrum = functools.reduce(
            lambda x, axis: jnp.fft.fft(x, axis=axis, norm="ortho"), axes, pictures
        )
        energy = spectrum.real**2 + spectrum.imag**2
        return total(jnp.asarray(weights, energy.dtype) * energy)


def total_variation() -> Objective:
    r"""Penalizes differences between neighbors: $\sum_d \sum_i |x_{i + e_d} - x_i|$.

    The directions $d$ are all axes of a picture but the last, the channels.

    Returns:
        A penalty in units of brightness times pixels; the article's weight is 0.25.

    Raises:
        ValueError: where it is used, if pictures have no axis but the channels.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
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
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
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
        ValueError: if the decay is no finite number, or negative; where the penalty is
            used, if images have no axis but the channels.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> board = jnp.array([[0.0, 1.0], [1.0, 0.0]])[None, None, :, :, None]
        >>> evaluate(frequency_penalty(), View({}, None, board, 0), 1).round(3).tolist()
        [[2.0]]

    References:
        Field, 1987, on the amplitudes of natural pictures [field1987relations].
    """
    return FrequencyPenalty(checked_real("decay", decay, 0, call="frequency_penalty"))
