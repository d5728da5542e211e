"""Attribution without its high frequencies, of any attribution."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.checks import checked_real
from jaxinterp.perturbation.positions import positions_of
from jaxinterp.types import Inputs, Key, Target, Variables


@method
def forgrad(attribution_fn: Attribution, *, cutoff: float) -> Attribution:
    r"""Attributes by the low frequencies of an attribution.

    $$\hat a = \mathcal F^{-1}\left[\,\lVert k \rVert \le \kappa\,\right] \mathcal F a$$

    $\mathcal F$ is the Fourier transform along the axes of positions, for each channel,
    and $k$ a frequency, in cycles over the length of each axis. Pooling and strides of
    a network leave a grid of high frequencies in its gradient, which says nothing of
    the image. The sum of the attributions stays as it is. Cost: that of the method.

    Args:
        attribution_fn: an attribution function of images, `(batch, height, width,
            channels)`, or of other arrays with positions: `(batch, length)` or `(batch,
            length, channels)`.
        cutoff: the highest frequency $\kappa$ that is kept, in cycles over the length
            of an axis. The authors keep 15 of images of 224 pixels, and find the best
            one for each method and model by a metric, such as `deletion`.

    Returns:
        An attribution function, in the units of `attribution_fn`.

    Raises:
        ValueError: if `cutoff` is negative or no number; when called, if an attribution
            has no positions, or more than three axes of them.

    References:
        Muzellec et al., 2024 [muzellec2024saliency], who filter the size of the mean
        over channels; here signs and channels are kept.

    Example:
        >>> from jaxinterp.attribution import gradient
        >>> from jaxinterp.objectives import total
        >>> fine = gradient(lambda w, x: w * x, score=total)
        >>> weights = jnp.array([[1.0, 0.0, 7.0, 0.0]])
        >>> forgrad(fine, cutoff=0)(weights, jnp.ones((1, 4))).round().tolist()
        [[2.0, 2.0, 2.0, 2.0]]
    """
    cutoff = checked_real("cutoff", cutoff, 0, call="forgrad")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        values = attribution_fn(variables, inputs, target, key)
        return jax.tree.map(lambda a: _low_pass(a, cutoff), values)

    return attribute


def _low_pass(values: Any, cutoff: float) -> Any:
    """Returns an array without the frequencies above a limit."""
    lengths = positions_of(values.shape)
    if not 1 <= len(lengths) <= 3:
        raise ValueError(
            f"forgrad: an attribution of shape {values.shape} has {len(lengths)} axes "
            "of positions, and 1 to 3 are filtered.\nGive images (batch, height, "
            "width, channels), or sequences (batch, length) or (batch, length, "
            "channels)."
        )
    axes = tuple(range(1, 1 + len(lengths)))
    cycles = [np.minimum(np.arange(n), n - np.arange(n)) for n in lengths]
    cycles[-1] = cycles[-1][: lengths[-1] // 2 + 1]  # of a real array the rest follows
    squares = np.stack(np.meshgrid(*cycles, indexing="ij")) ** 2
    is_low = squares.sum(0) <= cutoff**2
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    spectrum = jnp.fft.rfftn(wide, axes=axes)
    n_channel_axes = spectrum.ndim - is_low.ndim - 1
    kept = jnp.where(
        is_low.reshape(1, *is_low.shape, *[1] * n_channel_axes), spectrum, 0
    )
    return jnp.fft.irfftn(kept, s=lengths, axes=axes).astype(values.dtype)
