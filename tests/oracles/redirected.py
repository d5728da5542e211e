r"""Modified gradients for optimizing pictures, example by example.

`g` is the gradient, at the output, of what is to be maximized; the first axis of every
array is that of the examples.
"""

import numpy as np

from .stabilizers import Array


def redirected(x: Array, g: Array, high: float = np.inf) -> Array:
    """The gradient of clipping to `[0, high]`, unless an example gets none of it."""
    result = np.zeros_like(g)
    for example in range(len(x)):
        inside = (x[example] > 0) & (x[example] < high)
        own = np.where(inside, g[example], 0.0)
        if (own != 0).any():
            result[example] = own
            continue
        for place in np.ndindex(*x[example].shape):
            lower = x[example][place] <= 0 and g[example][place] < 0
            higher = x[example][place] >= high and g[example][place] > 0
            if not lower and not higher:
                result[example][place] = g[example][place]
    return result


def pooled_gradient(
    x: Array, g: Array, window: int, stride: int, padding: int, epsilon: float | None
) -> Array:
    r"""The gradient of a smooth stand-in for max pooling.

    `x` is `(batch, length, channels)`. The stand-in is the mean over a window, or with
    `epsilon` $\overline{x^2} / (\epsilon + \overline{|x|})$, without padding.
    """
    result = np.zeros_like(x)
    for b, out, c in np.ndindex(*g.shape):
        start = out * stride - padding
        places = [i for i in range(start, start + window) if 0 <= i < x.shape[1]]
        values = x[b, places, c]
        if epsilon is None:
            slope = np.ones(len(places)) / len(places)
        else:
            square, size = (values**2).mean(), epsilon + np.abs(values).mean()
            slope = 2 * values / size - square / size**2 * np.sign(values)
            slope = slope / len(places)
        result[b, places, c] += g[b, out, c] * slope
    return result
