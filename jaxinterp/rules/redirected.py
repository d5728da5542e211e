"""Rules for feature visualization: relus that are dead, and max pooling as a mean.

They are modified derivatives and belong in gradient composites. The gradient $g$ that
reaches the output of a site is that of a quantity to be *maximized*: where $g > 0$, a
larger output is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.rules.rule import Rule, RuleSiteError, of_example
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.layer.layer import Layer

Weighting = Literal["average", "l2"]

# Beyond the thresholds of any activation, and within the range of half precision.
_FAR = 1e4


@dataclasses.dataclass(frozen=True)
class RedirectedReLU(Rule):
    r"""The gradient of a relu; where it is zero, one that leaves the flat piece.

    If the gradient of an example vanishes, $f'(x) \odot g = 0$ everywhere, the example
    gets $g$ instead, except at entries that $g$ would only push further into
    saturation: $x < 0$ with $g < 0$, and for a relu6 also $x > 6$ with $g > 0$.
    Examples do not mix: an example whose gradient does not vanish keeps it, whatever
    the others have.

    Smooth activations keep their derivative. An activation has flat pieces, as a relu
    or a clip has, if it is made of comparisons, choices and affine steps alone.

    Raises:
        BatchAxisError: when used, if it cannot be told along which axis examples lie.

    References:
        Olah et al., 2017, "The Enemy of Feature Visualization", as its authors' library
        lucid has it [olah2017feature]. There $g$ is the gradient of a loss, and the
        signs are the opposite.

    Example:
        >>> from jaxinterp import rules
        >>> model = ji.with_rules(lambda w, x: jax.nn.relu(x) @ w, rules.redirected())
        >>> w, dead = jnp.array([1.0, -1.0]), jnp.array([[-1.0, -2.0]])
        >>> jax.grad(lambda x: model(w, x).sum())(dead).tolist()
        [[1.0, 0.0]]
    """

    of_activations = True

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient, redirected for the examples whose gradient vanishes."""
        if layer.node.role not in (Role.ACTIVATION, Role.POINTWISE):
            raise RuleSiteError(self, layer, "an activation")
        (own,) = layer.pull_back(relevance)
        if not _has_flat_pieces(layer):
            return own
        is_stuck = _is_flat(layer) & ~_leaves_flat_piece(layer, relevance)
        redirected = jnp.where(is_stuck, 0, relevance).astype(own.dtype)
        is_alive = of_example(jnp.any, own != 0, layer, str(self))
        return jnp.where(is_alive, own, redirected)


@dataclasses.dataclass(frozen=True)
class SmoothMaxPool(Rule):
    r"""Max pooling with the gradient of a mean: all entries of a window get a share.

    The derivative is that of $\overline{x^2} / (\epsilon + \overline{|x|})$, in which
    large entries weigh more, or of the mean $\overline{x}$ itself. A bar is the mean
    over a window, without padding. Not only the largest entry of a window gets a
    gradient, which makes smoother images.

    Attributes:
        weighting: `"l2"` for the quotient, `"average"` for the mean itself.
        epsilon: the number $\epsilon$ that is added to the mean size, in the units of
            the activation.

    Raises:
        ValueError: if the weighting has another name, or `epsilon` is not positive.

    References:
        Olah et al., 2017, as its authors' library lucid has it [olah2017feature].

    Example:
        >>> SmoothMaxPool("average")
        SmoothMaxPool(weighting='average', epsilon=0.01)
    """

    weighting: Weighting = "l2"
    epsilon: float = 1e-2

    def __post_init__(self) -> None:
        if self.weighting not in ("average", "l2"):
            raise ValueError(
                "SmoothMaxPool: `weighting` must be 'l2' or 'average', and is "
                f"{self.weighting!r}."
            )
        if not self.epsilon > 0:
            raise ValueError(
                f"SmoothMaxPool: `epsilon` must be positive, and is {self.epsilon}."
            )

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient of the mean."""
        if layer.node.role is not Role.MAX_POOL:
            raise RuleSiteError(self, layer, "max pooling over windows")
        (x,) = layer.inputs
        mean = _mean_over_windows(layer)

        def smooth(x: Any) -> Any:
            if self.weighting == "average":
                return mean(x)
            return mean(jnp.square(x)) / (self.epsilon + mean(jnp.abs(x)))

        _, pull = jax.vjp(smooth, x.astype(layer.dtype))
        return pull(relevance.astype(layer.dtype))


def _has_flat_pieces(layer: Layer) -> bool:
    kinds = {KINDS.get(equation.primitive) for equation in layer.node.members}
    is_stepwise = not kinds.isdisjoint({Kind.EXTREMUM, Kind.CHOICE, Kind.TEST})
    return is_stepwise and Kind.ELEMENTWISE not in kinds


def _is_flat(layer: Layer) -> Any:
    (slope,) = layer.pull_back(jnp.ones_like(layer.output))
    return slope == 0


def _leaves_flat_piece(layer: Layer, relevance: Any) -> Any:
    """Whether the output gets better far away in the direction of the gradient."""
    (x,) = layer.inputs
    far_up, far_down = (layer(jnp.full_like(x, far)) for far in (_FAR, -_FAR))
    is_more, is_less = far_up > layer.output, far_down < layer.output
    return jnp.where(relevance > 0, is_more, is_less)


def _mean_over_windows(layer: Layer) -> Callable[[Any], Any]:
    (pooling,) = layer.node.members
    params = pooling.params

    def total(x: Any) -> Any:
        return lax.reduce_window(
            x,
            np.zeros((), x.dtype),  # not a tracer: JAX would not see that it is a sum
            lax.add,
            window_dimensions=params["window_dimensions"],
            window_strides=params["window_strides"],
            padding=params["padding"],
            base_dilation=params["base_dilation"],
            window_dilation=params["window_dilation"],
        )

    sizes = total(jnp.ones(layer.inputs[0].shape, layer.dtype))
    return lambda x: total(x) / jnp.maximum(sizes, 1)
