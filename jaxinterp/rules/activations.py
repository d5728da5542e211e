"""Rules for activations: deconvnet, guided and rectified gradients, smoothed kinks.

They are modified derivatives and belong in gradient composites: $g$ is the gradient
that reaches an activation $f$, and a rule returns the gradient of its input.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.checks import checked_real
from jaxinterp.rules.rule import Rule, RuleSiteError, of_example
from jaxinterp.tracing import compat
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.program.program import Constant


def _need_activation(rule: Rule, layer: Layer) -> None:
    if layer.node.role not in (Role.ACTIVATION, Role.POINTWISE):
        raise RuleSiteError(rule, layer, "an activation")


@dataclasses.dataclass(frozen=True)
class DeconvReLU(Rule):
    r"""Deconvnet: rectifies the gradient instead of the activation, $\max(g, 0)$.

    The forward sign of the activation plays no part, so any activation will do. It
    counts as $f(x) = a\,c\,\varphi(b x)$ with signs $a, b$ and a size $c$ such that
    $\varphi$ rises on the right with slope one, as a relu does; then the rule returns
    $b\,c\,\max(a g, 0)$, however $f$ is spelled.

    References:
        Zeiler & Fergus, 2014, section 2.1 [zeiler2014visualizing].

    Example:
        >>> DeconvReLU()
        DeconvReLU()
    """

    of_activations = True

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the rectified gradient."""
        _need_activation(self, layer)
        a, b, size = layer.orientation
        return b * size * jnp.maximum(a * relevance, 0)


@dataclasses.dataclass(frozen=True)
class GuidedReLU(Rule):
    r"""Guided backpropagation: $f'(x) \odot \max(g, 0)$.

    Only positive gradients go on, scaled by the slope of the activation; for a relu
    that is where both the gradient and the input are positive. An activation that is a
    relu with its sign turned, such as $\min(x, 0)$, is taken as one:
    $f'(x) \odot a \max(a g, 0)$ with the sign $a$ of `DeconvReLU`.

    References:
        Springenberg et al., 2014, section 3.4 [springenberg2014striving].

    Example:
        >>> GuidedReLU()
        GuidedReLU()
    """

    of_activations = True

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the guided gradient."""
        _need_activation(self, layer)
        a, _, _ = layer.orientation
        return layer.pull_back(a * jnp.maximum(a * relevance, 0))


@dataclasses.dataclass(frozen=True)
class RectGrad(Rule):
    r"""Rectified gradient: goes on where an activation matters most to the score.

    $$g_x = f'(x) \odot \mathbf{1}[f(x) \odot g > \tau] \odot g$$

    where $\tau$ is a percentile of the products $f(x) \odot g$ of one example, over all
    entries of the site. With a threshold of zero it would be guided backpropagation.
    For a relu it is the formula of the paper wherever $\tau \ge 0$, that is, if not too
    many products are negative; below that, relus that are off get nothing here.

    Attributes:
        percentile: the percentage of entries that get nothing, from 0 to 100.

    Raises:
        ValueError: if `percentile` is no number between 0 and 100.
        BatchAxisError: when used, if it cannot be told along which axis examples lie.

    References:
        Kim et al., 2019, the definition of the rectified gradient [kim2019saliency].
        Their map is this gradient times the input.

    Example:
        >>> model = lambda w, x: jax.nn.relu(x) @ w
        >>> ruled = ji.with_rules(model, ji.rules.rect_grad(50.0))
        >>> w, x = jnp.array([4.0, 3.0, -5.0, 1.0]), jnp.array([[1.0, 2.0, 3.0, -4.0]])
        >>> jax.grad(lambda x: ruled(w, x).sum())(x).tolist()
        [[4.0, 3.0, 0.0, 0.0]]
    """

    of_activations = True

    percentile: float = 98.0

    def __post_init__(self) -> None:
        checked_real("percentile", self.percentile, 0, 100, call="RectGrad")

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient where the products exceed their percentile."""
        _need_activation(self, layer)
        products = layer.output.astype(layer.dtype) * relevance
        percentile = functools.partial(jnp.percentile, q=self.percentile)
        threshold = of_example(percentile, products, layer, str(self))
        return layer.pull_back(jnp.where(products > threshold, relevance, 0))


@dataclasses.dataclass(frozen=True)
class BetaSmooth(Rule):
    r"""Smooths kinks: a relu goes backward like a softplus, $g\,\sigma(\beta x)$.

    Every step in a derivative is replaced by a logistic one: $\max(x, c)$ has the slope
    $\sigma(\beta(x - c))$, $|x|$ the slope $2\sigma(\beta x) - 1$, a choice at $x > c$
    mixes the slopes of its cases. So leaky relus and clips are smoothed likewise.
    An activation that is written without such steps (tanh, gelu, silu) keeps its
    derivative; one whose steps cancel (softplus, elu) is smoothed a little too.

    Attributes:
        beta: sharpness; the derivative tends to the true one as it grows.

    Raises:
        ValueError: if `beta` is not positive.

    References:
        Dombrowski et al., 2019, section 4 [dombrowski2019explanations].

    Example:
        >>> BetaSmooth()
        BetaSmooth(beta=10.0)
    """

    of_activations = True

    beta: float = 10.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(
                f"BetaSmooth: `beta` must be positive, and is {self.beta}."
            )

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the smoothed gradient."""
        _need_activation(self, layer)
        (x,) = layer.inputs
        return relevance * self._slope(layer, x).astype(relevance.dtype)

    def _slope(self, layer: Layer, x: Any) -> Any:
        """The smoothed slope at each entry, carried forward through the equations."""
        node = layer.node
        values = {**node.flow.program.constants, **layer.weights, node.inputs[0]: x}
        slopes: dict[Any, Any] = {node.inputs[0]: jnp.ones_like(x)}
        tests: dict[Any, Any] = {}  # for a comparison, its left side minus its right
        for equation in node.members:
            operands = [
                v.value if isinstance(v, Constant) else values[v]
                for v in equation.inputs
            ]
            tangents = [
                jnp.zeros((), x.dtype)
                if isinstance(v, Constant)
                else slopes.get(v, 0.0)
                for v in equation.inputs
            ]
            (output,) = equation.outputs
            (values[output],) = compat.bind(
                equation.primitive, operands, equation.params
            )
            if equation.primitive in (p.gt_p, p.ge_p):
                tests[output] = operands[0] - operands[1]
            elif equation.primitive in (p.lt_p, p.le_p):
                tests[output] = operands[1] - operands[0]
            elif output.is_inexact:
                choice = tests.get(equation.inputs[0])
                slopes[output] = self._step(equation, operands, tangents, choice)
        return jnp.broadcast_to(slopes[node.outputs[0]], x.shape)

    def _step(self, equation: Any, operands: Any, slopes: Any, choice: Any) -> Any:
        primitive = equation.primitive
        if primitive is p.max_p:
            return self._mix(operands[0] - operands[1], slopes[0], slopes[1])
        if primitive is p.min_p:
            return self._mix(operands[1] - operands[0], slopes[0], slopes[1])
        if primitive is p.clamp_p:
            low, value, high = operands
            inner = self._mix(value - low, slopes[1], slopes[0])
            return self._mix(high - jnp.maximum(value, low), inner, slopes[2])
        if primitive is p.abs_p:
            return self._mix(operands[0], slopes[0], -slopes[0])
        if primitive is p.select_n_p and choice is not None and len(slopes) == 3:
            return self._mix(choice, slopes[2], slopes[1])
        inexact = [jnp.issubdtype(jnp.asarray(v).dtype, jnp.inexact) for v in operands]
        at = [i for i, is_inexact in enumerate(inexact) if is_inexact]

        def apply(*values: Any) -> Any:
            full = list(operands)
            for i, value in zip(at, values, strict=True):
                full[i] = value
            return compat.bind(primitive, full, equation.params)[0]

        primals = tuple(jnp.asarray(operands[i]) for i in at)
        tangents = tuple(
            jnp.broadcast_to(jnp.asarray(slopes[i], v.dtype), v.shape)
            for i, v in zip(at, primals, strict=True)
        )
        return jax.jvp(apply, primals, tangents)[1]

    def _mix(self, past: Any, above: Any, below: Any) -> Any:
        weight = jax.nn.sigmoid(self.beta * past)
        return weight * above + (1 - weight) * below
