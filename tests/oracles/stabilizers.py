r"""What relevance rules divide by instead of a denominator $z$ that may be zero.

Every function here returns a stabilizer $s$, which maps the denominators $z$ of **one
example** (any shape) to what is divided by. $\mathrm{sgn}_0$ is the sign with
$\mathrm{sgn}_0(0) = +1$.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Stabilizer = Callable[[Array], Array]


def sign_of(z: Array) -> Array:
    """Returns the sign of `z`, where zero counts as positive."""
    return np.where(z >= 0, 1.0, -1.0)


def signed(epsilon: float = 1e-6) -> Stabilizer:
    r"""Pushes away from zero: $s(z) = z + \epsilon\,\mathrm{sgn}_0(z)$."""
    return lambda z: z + epsilon * sign_of(z)


def clipped(epsilon: float = 1e-6) -> Stabilizer:
    r"""Keeps away from zero: $s(z) = \mathrm{sgn}_0(z) \max(|z|, \epsilon)$."""
    return lambda z: sign_of(z) * np.maximum(np.abs(z), epsilon)


def norm_scaled(epsilon: float = 1e-6, clip: bool = False) -> Stabilizer:
    r"""Scales $\epsilon$ by the root mean square of the example's denominators."""

    def stabilize(z: Array) -> Array:
        total = 0.0
        for value in z.flat:
            total += value**2
        scaled = epsilon * np.sqrt(total / z.size)
        return clipped(scaled)(z) if clip else signed(scaled)(z)

    return stabilize


def only_zeros(epsilon: float = 1e-7) -> Stabilizer:
    r"""Replaces exact zeros, iNNvestigate's: $s(z) = z + \epsilon\,1[z = 0]$."""
    return lambda z: z + epsilon * (z == 0)


def exact() -> Stabilizer:
    """Leaves denominators alone; the caller must know that none is zero."""
    return lambda z: z
