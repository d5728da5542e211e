"""What a rule sees of a site: the function that it computes, and its arrays.

For an affine site the function is `z = linear(x, kernel) + bias`: the contraction with
every elementwise affine step around it (bias, batch norm, scaling, casts) folded into
`kernel` and `bias`, so that a rule does not depend on how the map was spelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.tracing import compat
from jaxinterp.tracing.errors import BatchAxisError, RuleResultError
from jaxinterp.tracing.facts.batch_axis import batch_axis
from jaxinterp.tracing.facts.constants import active_entries
from jaxinterp.tracing.facts.curve import (
    POINTS,
    constant_number,
    curve,
    is_gate,
    orientation,
    source_of,
)
from jaxinterp.tracing.facts.moves import moves_between
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.facts.weighted_sum import WeightedSum
from jaxinterp.tracing.graph import Node
from jaxinterp.tracing.layer.contraction import Contraction
from jaxinterp.tracing.layer.max_pool import is_supported, max_pool_transpose
from jaxinterp.tracing.layer.product import product, product_of, product_transpose
from jaxinterp.tracing.layer.softmax import softmax_axes, softmax_transpose
from jaxinterp.tracing.program.evaluate import Changes, evaluate_part
from jaxinterp.tracing.program.program import Constant, Value

_LOOPS = frozenset(q for q, kind in KINDS.items() if kind is Kind.LOOP)


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A site with the arrays of one run of the model.

    Attributes:
        node: the node of the graph that is the site.
        inputs: the arrays of the activations that the site reads.
        weights: the arrays of all other values that the site reads.
        output: the array of the activation that the site computes.
        fixed: values of the site that count as constants on the way back.
    """

    node: Node
    inputs: tuple[Any, ...]
    weights: Mapping[Value, Any]
    output: Any
    fixed: frozenset[Value] = frozenset()

    # --- Any site ---------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> Any:
        """Returns what the site computes from other activations."""
        equation = product_of(self.node)
        if equation is not None and not self.fixed:
            return product(equation, *inputs)
        env = dict(self.weights) | dict(zip(self.node.inputs, inputs, strict=True))
        program = self.node.flow.program
        stopped = Changes(edits=dict.fromkeys(self.fixed, jax.lax.stop_gradient))
        for value in self.fixed.intersection(self.node.inputs):
            env[value] = jax.lax.stop_gradient(env[value])
        env = {**program.constants, **env}
        env = evaluate_part(program, self.node.equations, env, stopped)
        return env[self.node.outputs[0]]

    def with_fixed_statistics(self) -> Layer:
        """Returns a normalization or a quotient as if its divisor were a constant.

        Its output is the same, but as a function of the input it is affine.
        """
        return dataclasses.replace(self, fixed=self.node.statistics)

    def pull_back(self, cotangent: Any) -> tuple[Any, ...]:
        """Returns, for each input, the product of a cotangent with the Jacobian."""
        if is_pooling(self.node):
            (pooling,), (x,) = self.node.members, self.inputs
            return (max_pool_transpose(pooling, x, cotangent),)
        equation = product_of(self.node)
        if equation is not None and not self.fixed:
            cotangent = cotangent.astype(self.output.dtype)
            left, right = self.inputs
            return product_transpose(equation, left, right, cotangent)
        axes = softmax_axes(self.node)
        if axes is not None and not self.fixed:
            back = softmax_transpose(self.z, cotangent.astype(self.dtype), axes)
            return (back.astype(self.inputs[0].dtype),)
        _, pull = jax.vjp(self, *self.inputs)
        return pull(cotangent.astype(self.output.dtype))

    @property
    def nonnegative(self) -> bool:
        """Whether the graph proves that no input has a negative entry."""
        return all(v in self.node.flow.nonnegative for v in self.node.inputs)

    @property
    def gates(self) -> tuple[bool, ...]:
        """For each input, whether it is a gate, between zero and one."""
        return tuple(is_gate(self.node.flow, v) for v in self.node.inputs)

    @property
    def factors(self) -> tuple[int, ...]:
        """For each input the first one that is a function of the same value.

        Functions of one value are one factor of a product: in `sigmoid(a) * b * a` the
        first and the last are.
        """
        sources = [source_of(self.node.flow, v) for v in self.node.inputs]
        return tuple(map(sources.index, sources))

    @cached_property
    def orientation(self) -> tuple[Any, Any, Any]:
        """Signs and size of an activation, see `facts.curve.orientation`.

        They are numbers, or if it has weights, such as a PReLU, arrays like the input.
        """
        node = self.node
        shape = curve(node.flow, node.equations, node.inputs[0])
        if node.role is not Role.ACTIVATION or shape is None:
            return 1.0, 1.0, 1.0
        inactive = {v for e in node.members for v in e.values} - node.flow.active
        if all(constant_number(node.flow, v) is not None for v in inactive):
            return shape.orientation
        (x,) = self.inputs

        def slope(point: Any) -> Any:
            at = jnp.full_like(x, point)
            return jax.jvp(self, (at,), (jnp.ones_like(x),))[1]

        return orientation(jax.lax.map(slope, jnp.asarray(POINTS)))

    @property
    def is_affine(self) -> bool:
        """Whether the site is an affine map, with a kernel or elementwise."""
        return self.node.kernel is not None or self.node.role is Role.SCALE

    def batch_axis(self, value: Value, needed: str, or_merged: bool = False) -> int:
        """Returns the axis along which the examples of an activation lie.

        Args:
            value: an input of the site, or its output.
            needed: what needs the axis, for the error message.
            or_merged: whether the axis may have others merged into it.

        Raises:
            BatchAxisError: if the axis cannot be told.
        """
        flow, node = self.node.flow, self.node
        inputs = [v for v in flow.program.inputs if v in flow.active]
        is_in_loop = any(e.primitive in _LOOPS for e in node.members[-1].callers)
        if not is_in_loop and all(v.shape for v in inputs):
            size = inputs[0].shape[0]
            axis = batch_axis(flow, value, size)
            if axis is not None and (or_merged or value.shape[axis] == size):
                return axis
        raise BatchAxisError(node.address, node.line, value.shape, needed)

    # --- Affine sites: z = linear(x, kernel) + bias -----------------------------------

    @cached_property
    def dtype(self) -> Any:
        """The dtype of relevance: that of the output, but at least float32."""
        return jnp.promote_types(self.output.dtype, jnp.float32)

    @cached_property
    def x(self) -> Any:
        """The input of an affine site; entries that are constants are zero."""
        (x,) = self.inputs
        x = x.astype(self.dtype)
        return x if self._entries is None else jnp.where(self._entries > 0, x, 0)

    @cached_property
    def _entries(self) -> Any:
        """Which entries of the input are no padding or the like, `None` if all."""
        if self.node.kernel is None:
            return None
        entries = active_entries(self.node.flow, self.node.inputs[0])
        return None if entries is None else entries.astype(self.dtype)

    @property
    def variable_inputs(self) -> tuple[Any, ...]:
        """The inputs; for an affine site without the constants among their entries."""
        return self.inputs if self._entries is None else (self.x,)

    @cached_property
    def z(self) -> Any:
        """The output of the site; for an affine one not rounded to half precision."""
        if self.output.dtype != self.dtype and self.contraction is not None:
            return self.linear(self.x, self.kernel) + self.bias
        return self.output.astype(self.dtype)

    @cached_property
    def kernel(self) -> Any:
        """The weights of the linear map, with all scales around it multiplied in."""
        if self.weighted_sum is not None:
            return self.weighted_sum.kernel()
        if self.contraction is None:
            zeros = jnp.zeros_like(self.inputs[0])
            _, scale = jax.jvp(self, (zeros,), (jnp.ones_like(zeros),))
            return scale.astype(self.dtype)
        core, along = self.contraction, self.contraction.along_kernel
        kernel = self._own_kernel(core).astype(self.dtype)
        if not self.output.size:  # an empty batch has no factors
            return kernel
        if self.node.before:
            zeros = jnp.zeros_like(self.inputs[0])
            kernel = kernel * along(
                self._factor(self.node.before, zeros), incoming=True
            )
        if self.node.after:
            zeros = jnp.zeros(core.shape, core.equation.outputs[0].dtype)
            kernel = kernel * along(
                self._factor(self.node.after, zeros), incoming=False
            )
        return kernel

    @cached_property
    def bias(self) -> Any:
        """The output where all that depends on the input is zero.

        It broadcasts against `z`.
        """
        if self._entries is None:
            return self._own_bias
        (x,) = self.inputs
        constants = jnp.where(self._entries > 0, 0, x.astype(self.dtype))
        return self._own_bias + self._linear(constants, self.kernel)

    @cached_property
    def _own_bias(self) -> Any:
        core = self.contraction
        if core is None:
            return self(jnp.zeros_like(self.inputs[0])).astype(self.dtype)
        start = jnp.zeros(core.shape, core.equation.outputs[0].dtype)
        if self._shifts(self.node.before):
            shift, _ = self._chain(self.node.before, jnp.zeros_like(self.inputs[0]))
            kernel = self._own_kernel(core).astype(shift.dtype)
            start = core(shift, kernel).astype(start.dtype)
        elif not self._shifts(self.node.after):
            return jnp.zeros((), self.dtype)
        bias, _ = self._chain(self.node.after, start)
        return bias.astype(self.dtype)

    def linear(self, x: Any, kernel: Any) -> Any:
        """Returns the linear map of the site, with another input and another kernel.

        Args:
            x: an array like the site's input; its size may be 1 along axes over which
                the map repeats.
            kernel: an array like `Layer.kernel`.
        """
        return self._linear(x, kernel)

    def _linear(self, x: Any, kernel: Any) -> Any:
        if self.weighted_sum is not None:
            return self.weighted_sum(x, kernel)
        if self.contraction is None:
            return jnp.broadcast_to(x * kernel, self.output.shape)
        return self._layout(self.contraction(x, kernel))

    def transpose(self, kernel: Any, cotangent: Any) -> Any:
        """Returns the transposed linear map, with another kernel.

        Args:
            kernel: an array like `Layer.kernel`.
            cotangent: what is mapped back, an array like `z`.
        """
        (back,) = self.transpose_each([kernel], cotangent)
        return back

    def transpose_each(self, kernels: Sequence[Any], cotangent: Any) -> list[Any]:
        """Returns the transposed linear maps of one array, for several kernels.

        Args:
            kernels: arrays like `Layer.kernel`.
            cotangent: what is mapped back, an array like `z`.
        """
        if self.weighted_sum is not None:
            back = self.weighted_sum.transpose_each(kernels, cotangent)
            return [self._without_constants(array) for array in back]
        if self.contraction is None:
            return [kernel * cotangent for kernel in kernels]
        back = self.contraction.transpose_each(kernels, self.inverse_layout(cotangent))
        return [self._without_constants(array) for array in back]

    def _without_constants(self, x: Any) -> Any:
        return x if self._entries is None else x * self._entries

    def uniform(self, value: float) -> Any:
        """Returns a constant input, of size 1 along axes over which the map repeats.

        Args:
            value: the number that all entries are.
        """
        if self._entries is not None:
            return value * self._entries
        if self.weighted_sum is not None:
            return jnp.full(self.x.shape, value, self.dtype)
        if self.contraction is None:
            return jnp.full((1,) * self.x.ndim, value, self.dtype)
        return self.contraction.uniform(value, self.dtype)

    def linear_ones(self) -> Any:
        """Returns for each entry of `z` how many entries of the input it reads."""
        if self.weighted_sum is not None:
            return self._linear(self.uniform(1.0), self.weighted_sum.ones())
        if self.contraction is None:
            return jnp.ones((1,) * self.x.ndim, self.dtype)
        if self._entries is not None:
            ones = jnp.ones(self.contraction.kernel.shape, self.dtype)
            return self._layout(self.contraction(self._entries, ones))
        return self._layout(self.contraction.count(self.dtype))

    def transpose_ones(self, cotangent: Any) -> Any:
        """Returns the transposed linear map with a kernel of ones.

        Args:
            cotangent: what is mapped back, an array like `z`.
        """
        if self.weighted_sum is not None:
            return self.transpose(self.weighted_sum.ones(), cotangent)
        if self.contraction is None:
            return cotangent
        back = self.contraction.transpose_count(self.inverse_layout(cotangent))
        return self._without_constants(back)

    # --- Folding ----------------------------------------------------------------------

    @cached_property
    def contraction(self) -> Contraction | None:
        """The convolution or matrix product in the site, if it has one."""
        return contraction_of(self.node)

    @cached_property
    def weighted_sum(self) -> WeightedSum | None:
        """The products with weights and their sum, if the site is written so."""
        node = self.node
        if not node.products:
            return None
        env = {**node.flow.program.constants, **self.weights}
        return WeightedSum(
            node.flow, node.equations, node.products, node.inputs[0], env, self.dtype
        )

    def _own_kernel(self, contraction: Contraction) -> Any:
        atom = contraction.kernel
        if isinstance(atom, Constant):
            return jnp.asarray(atom.value)
        constants = self.node.flow.program.constants
        return jnp.asarray(
            self.weights[atom] if atom in self.weights else constants[atom]
        )

    def _chain(self, steps: tuple[int, ...], start: Any) -> tuple[Any, Any]:
        """Runs affine steps on an array; returns the result and the pull-back."""
        program = self.node.flow.program
        if not steps:
            return start, lambda cotangent: (cotangent,)
        (source,) = self.node.flow.active_inputs(steps[0])
        (end,) = program.equations[steps[-1]].outputs

        def run(value: Any) -> Any:
            env = {**program.constants, **self.weights, source: value}
            return evaluate_part(program, steps, env)[end]

        return jax.vjp(run, start)

    def _shifts(self, steps: tuple[int, ...]) -> bool:
        equations = self.node.flow.program.equations
        return any(KINDS.get(equations[i].primitive) is Kind.ADDITIVE for i in steps)

    def _factor(self, steps: tuple[int, ...], start: Any) -> Any:
        """By what affine steps multiply each entry of an array, in its layout."""
        end, pull = self._chain(steps, start)
        return pull(jnp.ones_like(end))[0].astype(self.dtype)

    def _layout(self, z: Any) -> Any:
        """Brings a contraction's result into the shape of the site's output."""
        assert self.contraction is not None, "only a contraction has a layout"
        z = jnp.broadcast_to(z, self.contraction.shape)
        program = self.node.flow.program
        for index in self.node.after:
            equation = program.equations[index]
            if KINDS.get(equation.primitive) is Kind.LAYOUT:
                (z,) = compat.bind(equation.primitive, [z], equation.params)
        return z

    def before_layout(self, relevance: Any) -> Any:
        """Brings relevance into the layout that a normalization's steps change.

        Args:
            relevance: an array like the output of the site.
        """
        (source,), (output,) = self.node.inputs, self.node.outputs
        moves = moves_between(self.node.flow, source, output)

        def layout(value: Any) -> Any:
            for equation in moves:
                (value,) = compat.bind(equation.primitive, [value], equation.params)
            return value

        spec = jax.ShapeDtypeStruct(source.shape, relevance.dtype)
        return jax.linear_transpose(layout, spec)(relevance)[0] if moves else relevance

    def inverse_layout(self, cotangent: Any) -> Any:
        """Brings a cotangent of the site's output into the contraction's layout.

        Args:
            cotangent: an array like the output of the site.
        """
        assert self.contraction is not None, "only a contraction has a layout"
        spec = jax.ShapeDtypeStruct(self.contraction.shape, cotangent.dtype)
        (back,) = jax.linear_transpose(self._layout, spec)(cotangent)
        return back


def received_by(rule: object, layer: Layer, result: Any) -> tuple[Any, ...]:
    """Returns what a rule gives to each input of a site, in the dtype of that input.

    Args:
        rule: the rule, for the error message.
        layer: the site in this pass.
        result: what the rule returned: an array, or a tuple or list of several.

    Returns:
        One array for each input; `None` for inputs that are no real numbers.

    Raises:
        RuleResultError: if arrays are missing, or of another shape than the inputs.
    """
    parts = tuple(result) if isinstance(result, tuple | list) else (result,)
    is_real = [jnp.issubdtype(x.dtype, jnp.inexact) for x in layer.inputs]
    shapes = [None if part is None else np.shape(part) for part in parts]
    is_fitting = len(parts) == len(is_real) and all(
        shape == x.shape
        for x, real, shape in zip(layer.inputs, is_real, shapes, strict=True)
        if real
    )
    if not is_fitting:
        node = layer.node
        needed = " and ".join(str(x.shape) for x in layer.inputs)
        returned = " and ".join(map(str, shapes)) or "nothing"
        raise RuleResultError(rule, node.address, node.line, needed, returned)
    return tuple(
        jnp.asarray(part).astype(x.dtype) if real else None
        for x, real, part in zip(layer.inputs, is_real, parts, strict=True)
    )


def contraction_of(node: Node) -> Contraction | None:
    """Returns the convolution or matrix product of a node, if it has one.

    Args:
        node: a node of a graph.
    """
    if node.kernel is None or node.products:
        return None
    equation = node.flow.program.equations[node.kernel]
    lhs = equation.inputs[0]
    is_left = isinstance(lhs, Value) and lhs in node.flow.active
    return Contraction(equation, 0 if is_left else 1)


def is_pooling(node: Node) -> bool:
    """Whether a node is a max pooling whose derivative is in `max_pool.py`.

    Args:
        node: a node of a graph.
    """
    return len(node.members) == 1 and is_supported(node.members[0])
