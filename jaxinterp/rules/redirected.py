"""Modified derivatives for making pictures: what is dead still gets a direction.

These belong in gradient composites. Here the gradient $g$ that reaches the output of a
site is that of a quantity to be *maximized*: where $g > 0$ more is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.rules.rule import Rule, RuleSiteError
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.layer.layer import Layer

Weighting = Literal["average", "l2"]

# Beyond the thresholds of any activation, and small enough for half precision.
_FAR = 1e4


@dataclasses.dataclass(frozen=True)
class RedirectedReLU(Rule):
    r"""The gradient of a relu, unless it is zero: then one that can bring it to life.

    An example that gets nothing at all, $f'(x) \odot g = 0$ everywhere, gets $g$
    instead, but for entries that it would only push further into saturation: $x < 0$
    with $g < 0$, and for a relu6 also $x > 6$ with $g > 0$. Examples do not mix: one
    that is alive has its own derivative, whatever the others have.

    So have all examples where the activation is smooth. One with flat pieces, a relu or
    a clip, is told by what it is made of: comparisons, choices and affine steps.

    Raises:
        BatchAxisError: when used, if it cannot be told where the examples are.

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

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient, redirected for examples for which it vanishes."""
        if layer.node.role is not Role.ACTIVATION:
            raise RuleSiteError(self, layer, "an activation")
        (own,) = layer.pull_back(relevance)
        if not _has_flat_pieces(layer):
            return own
        is_stuck = _is_flat(layer) & ~_leads_out(layer, relevance)
        redirected = jnp.where(is_stuck, 0, relevance).astype(own.dtype)
        return jnp.where(_any_of_example(own != 0, layer, str(self)), own, redirected)


@dataclasses.dataclass(frozen=True)
class SmoothMaxPool(Rule):
    r"""Max pooling with the gradient of a mean: all of a window gets a share.

    The derivative is that of $\overline{x^2} / (\epsilon + \overline{|x|})$, in which
    large entries weigh more, or of the mean $\overline{x}$ itself. A bar is the mean
    over a window, without padding. Which entry wins a window no longer decides who may
    move, which makes smoother pictures.

    Attributes:
        weighting: `"l2"`, or `"average"` for the mean itself.
        epsilon: added to the mean size, in the units of the activation.

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
                "SmoothMaxPool: `weighting` is 'l2' or 'average', and was "
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


def _any_of_example(x: Any, layer: Layer, needed: str) -> Any:
    """Whether anything holds of the example that an entry belongs to."""
    axis = layer.batch_axis(layer.node.inputs[0], needed, or_merged=True)
    flow = layer.node.flow
    examples = next(v for v in flow.program.inputs if v in flow.active).shape[0]
    # Examples are the outermost of what is merged on their axis.
    apart = (*x.shape[:axis], examples, x.shape[axis] // examples, *x.shape[axis + 1 :])
    others = tuple(i for i in range(len(apart)) if i != axis)
    found = jnp.any(x.reshape(apart), axis=others, keepdims=True)
    return jnp.broadcast_to(found, apart).reshape(x.shape)


def _is_flat(layer: Layer) -> Any:
    (slope,) = layer.pull_back(jnp.ones_like(layer.output))
    return slope == 0


def _leads_out(layer: Layer, relevance: Any) -> Any:
    """Whether far away, where a step along the gradient leads, the output is better."""
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
            np.zeros((), x.dtype),  # no tracer, or it is no sum to JAX
            lax.add,
            window_dimensions=params["window_dimensions"],
            window_strides=params["window_strides"],
            padding=params["padding"],
            base_dilation=params["base_dilation"],
            window_dilation=params["window_dilation"],
        )

    count = total(jnp.ones(layer.inputs[0].shape, layer.dtype))
    return lambda x: total(x) / jnp.maximum(count, 1)
