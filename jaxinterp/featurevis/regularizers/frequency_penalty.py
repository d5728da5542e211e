"""A penalty on energy at high frequencies, where natural images have little."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_real
from jaxinterp.featurevis.regularizers.neighbors import (
    along,
    check_spatial,
    in_full,
    spatial_axes,
    total,
)
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static


@pytree
class FrequencyPenalty(Objective):
    """Energy, where natural images have little; fields as in `frequency_penalty`."""

    decay: float = static()

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if images have frequencies."""
        check_spatial("frequency_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the weighted energy."""
        images = in_full(view)
        axes = spatial_axes(images)
        squares: Any = 0.0
        for axis in axes:
            frequencies = np.fft.fftfreq(images.shape[axis])
            squares = squares + along(frequencies**2, axis, images.ndim)
        # The power of zero is set apart: without decay, a constant is energy as well,
        # but a penalty on frequencies has nothing against it.
        weights = np.where(squares > 0, (4 * squares) ** self.decay, 0.0)
        spectrum = functools.reduce(
            lambda x, axis: jnp.fft.fft(x, axis=axis, norm="ortho"), axes, images
        )
        energy = spectrum.real**2 + spectrum.imag**2
        return total(jnp.asarray(weights, energy.dtype) * energy)


def frequency_penalty(decay: float = 1.0) -> Objective:
    r"""Penalizes energy by how far it exceeds a spectrum that decays with frequency.

    $$\sum_{f \ne 0} \left(\frac{|f|}{1/2}\right)^{2\alpha} |\hat x_f|^2$$

    $\hat x$ is the orthonormal Fourier transform and $f$ the frequency in cycles per
    pixel. The amplitudes of natural images fall like $|f|^{-\alpha}$ with $\alpha$
    near 1, so each of their frequencies costs the same; a checkerboard costs most.

    Args:
        decay: $\alpha$; with 0, the penalty is the variance times the number of pixels.

    Returns:
        A penalty in units of squared brightness. Time grows with that of the transform.

    Raises:
        ValueError: if the decay is no finite number, or negative; where the penalty is
            used, if images have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis import View
        >>> board = jnp.array([[0.0, 1.0], [1.0, 0.0]])[None, :, :, None]
        >>> frequency_penalty()(View({}, None, board, 0)).round(3).tolist()
        [2.0]

    References:
        Field, 1987, on the amplitudes of natural images [field1987relations].
    """
    return FrequencyPenalty(checked_real("decay", decay, 0, call="frequency_penalty"))
