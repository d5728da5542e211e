r"""Modified gradients of an activation $y = \phi(x)$, entry by entry.

`upstream` is the gradient at $y$; the result is what is sent to $x$ instead of
$\phi'(x)$ times it.
"""

import numpy as np

from .stabilizers import Array


def deconvnet(upstream: Array) -> Array:
    r"""$\max(g, 0)$: rectifies the gradient and ignores the input, Zeiler, 2014."""
    result = np.zeros_like(upstream)
    for place in np.ndindex(*upstream.shape):
        if upstream[place] > 0:
            result[place] = upstream[place]
    return result


def guided(x: Array, upstream: Array) -> Array:
    r"""$g\,1[g > 0]\,1[x > 0]$: both rectify, Springenberg et al., 2015."""
    result = np.zeros_like(upstream)
    for place in np.ndindex(*upstream.shape):
        if upstream[place] > 0 and x[place] > 0:
            result[place] = upstream[place]
    return result


def rectified(x: Array, upstream: Array, percentile: float) -> Array:
    r"""$g\,1[y g > \tau]$ of one example of a relu $y$, Kim et al., 2019.

    The percentile $\tau$ is interpolated between the two nearest ranks. Where it is
    negative, a relu that is off gets nothing, unlike in the paper.
    """
    products = np.maximum(x, 0.0) * upstream
    ranked = sorted(products.ravel().tolist())
    rank = percentile / 100 * (len(ranked) - 1)
    below = int(np.floor(rank))
    above = min(below + 1, len(ranked) - 1)
    threshold = ranked[below] + (rank - below) * (ranked[above] - ranked[below])
    result = np.zeros_like(upstream)
    for place in np.ndindex(*upstream.shape):
        if products[place] > threshold and x[place] > 0:
            result[place] = upstream[place]
    return result


def beta_smooth(x: Array, upstream: Array, beta: float = 10.0) -> Array:
    r"""$g\,\sigma(\beta x)$: the gradient of softplus, Dombrowski et al., 2019."""
    sigmoid = 0.5 * (1.0 + np.tanh(0.5 * beta * x))
    return upstream * sigmoid


def relu_gradient(x: Array, upstream: Array) -> Array:
    """The gradient of relu, which is zero at zero."""
    return np.where(x > 0, upstream, 0.0)
