"""What a rule is: the base class, its errors, and the steps that rules share.

The rules themselves: `affine` (zero, epsilon and gamma, of convolutions and dense
layers), `signed` (alpha-beta, z-plus), `first_layer`, `products`, `any_site`,
`activations` and `redirected`.

Notation, here and in the other rule files: a site computes $z = f(x)$ from one or more
inputs; given the relevance $R_z$ of its output, a rule returns the relevance $R_x$ of
its inputs. In a gradient composite $R$ is a gradient and rules are modified
derivatives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from jaxinterp.tracing.layer.layer import Layer


class Absorbed(NamedTuple):
    """Relevance that a rule gives to no input, in the units of the score.

    Attributes:
        bias: the relevance that stays in the bias of the site.
        stabilizer: the relevance that stays in the stabilizer of the denominator.
    """

    bias: Float[Array, ""]
    stabilizer: Float[Array, ""]


class RuleSiteError(TypeError):
    """A composite gives a rule to a site at which the rule has no meaning."""

    def __init__(self, rule: object, layer: Layer, needs: str):
        node = layer.node
        super().__init__(
            f"{rule} needs {needs}, and {node.address!r} is of role {node.role}\n"
            f"({node.line}).\n"
            "Give that site another rule: put a line such as "
            f"`(at({node.address!r}), Norm())`\nbefore the one that chose this rule."
        )


class Rule:
    """How relevance goes back through one site.

    A rule of your own is a subclass; make it a frozen dataclass, and it prints its
    hyperparameters and compares by them.

    Example:
        >>> from jaxinterp.rules import Rule
        >>> class Positive(Rule):
        ...     def __call__(self, layer, relevance):
        ...         kernel = jnp.maximum(layer.kernel, 0)
        ...         z = layer.linear(layer.x, kernel)
        ...         return layer.x * layer.transpose(kernel, relevance / (z + 1e-6))
        >>> composite = [("*", Positive())]
        >>> attribute = ji.attribution.lrp(lambda w, x: x @ w, composite=composite)
        >>> w = jnp.array([[1.0], [-1.0], [2.0]])
        >>> relevance = attribute(w, jnp.array([[1.0, 2.0, 1.5]]), jnp.array([0]))
        >>> [round(value, 4) for value in relevance[0].tolist()]
        [0.5, 0.0, 1.5]
    """

    # Whether the rule is for activations alone, and so has to see each of them whole.
    of_activations: ClassVar[bool] = False

    def __str__(self) -> str:
        """Returns the rule with the hyperparameters that differ from their defaults."""
        if not dataclasses.is_dataclass(self):
            return f"{type(self).__name__}()"
        hyperparameters = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(hyperparameters)})"

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of each input: an array, or a tuple of several.

        Args:
            layer: the site in this pass. Of any site it has the arrays `inputs` and
                `output`, `layer(*inputs)` computes the output of other inputs, and
                `pull_back(cotangent)` goes back by the derivative, to a tuple with an
                array for each input. If `is_affine`, which convolutions and dense
                layers are, the output is `z = linear(x, kernel) + bias`, and
                `transpose(kernel, cotangent)` goes back to `x`. `node` is the node of
                the graph, with its `address` and `role`.
            relevance: the relevance of the output of the site, an array of its shape.
        """
        raise NotImplementedError

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns the relevance that goes to no input, for the ledger.

        It is called after the rule itself, which has checked that it fits the site.

        Args:
            layer: the site in this pass.
            relevance: the relevance of the output of the site.
        """
        return Absorbed(jnp.zeros(()), jnp.zeros(()))


def contributions(layer: Layer, share: Sequence[Any]) -> tuple[Any, ...]:
    """Returns what each input contributes; `None` for inputs that are no real numbers.

    Args:
        layer: the site in this pass.
        share: for each input, an array of what one unit of each entry contributes.
    """
    return tuple(
        times(x, s) if jnp.issubdtype(x.dtype, jnp.inexact) else None
        for x, s in zip(layer.inputs, share, strict=True)
    )


def times(x: Any, share: Any) -> Any:
    """Returns a product that is zero where its second factor is, also of infinity.

    So an entry of minus infinity that a softmax takes no notice of gets no relevance,
    and not NaN.

    Args:
        x: an array that may be infinite.
        share: an array of the same shape.
    """
    if jnp.iscomplexobj(x):  # two numbers; JAX's cotangent of the second is negative
        return jax.lax.complex(times(x.real, share.real), times(x.imag, -share.imag))
    return jnp.where((share == 0) & ~jnp.isfinite(x), 0, x) * share


def total(relevance: Any) -> Any:
    """Returns the sum of relevance; a complex entry holds that of both its parts.

    Args:
        relevance: an array.
    """
    return jnp.sum(jnp.real(relevance)) + jnp.sum(jnp.imag(relevance))


def absorbed_by(layer: Layer, quotient: Any, epsilon: float | Stabilizer) -> Absorbed:
    r"""Returns what bias and stabilizer keep when $R_x = x \odot J^\top q$.

    The bias is the part of $z$ that does not come from an input, $z - J_f(x)\,x$.

    Args:
        layer: the site in this pass.
        quotient: $q = R_z / s(z)$.
        epsilon: the stabilizer $s$, or the size of the default one.
    """
    share = layer.pull_back(quotient)
    to_inputs = sum(
        total(times(x, s))
        for x, s in zip(layer.variable_inputs, share, strict=True)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    )
    bias = total(times(layer.z, quotient)) - to_inputs
    added = stabilizer(epsilon).at(layer)(layer.z) - layer.z
    in_stabilizer = total(times(added, quotient))
    return Absorbed(bias, in_stabilizer)


def of_example(
    statistic: Callable[..., Any],
    x: Any,
    layer: Layer,
    needed: str,
    *,
    is_output: bool = False,
) -> Any:
    """Returns, at each entry of the input, a statistic of an array's same example.

    Args:
        statistic: what reduces an array, called with `axis` as `jnp.any` is.
        x: an array like the input of the site.
        layer: the site in this pass.
        needed: what needs to know the examples, for the error message.
        is_output: whether `x` is like the output of the site instead.

    Raises:
        BatchAxisError: if it cannot be told along which axis examples lie.
    """
    flow, node = layer.node.flow, layer.node
    examples = next(v for v in flow.program.inputs if v in flow.active).shape[0]

    def split(value: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        # If other axes are merged into that of the examples, these are outermost.
        axis = layer.batch_axis(value, needed, or_merged=True)
        merged = shape[axis] // examples
        return (*shape[:axis], examples, merged, *shape[axis + 1 :]), axis

    shape, axis = split((node.outputs if is_output else node.inputs)[0], x.shape)
    others = tuple(i for i in range(len(shape)) if i != axis)
    reduced = statistic(x.reshape(shape), axis=others)
    like = layer.inputs[0].shape
    shape, axis = split(node.inputs[0], like) if is_output else (shape, axis)
    reduced = jnp.expand_dims(reduced, [i for i in range(len(shape)) if i != axis])
    return jnp.broadcast_to(reduced, shape).reshape(like)


def to_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """Returns an array summed over the axes along which broadcasting repeated another.

    This is the transpose of broadcasting: the sum over all copies of an entry.

    Args:
        x: an array in the broadcast shape.
        shape: the shape before broadcasting.
    """
    extra = x.ndim - len(shape)
    x = x.sum(axis=tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return x.sum(axis=axes, keepdims=True)
