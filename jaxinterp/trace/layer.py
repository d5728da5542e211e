"""What a rule sees of a site: the function that it computes, and the values of this pass.

For an affine site the function is `z = linear(x, kernel) + bias`: the contraction with every
elementwise affine step around it (bias, batch norm, scaling, casts) folded into `kernel` and
`bias`, so that a rule does not depend on how the map was spelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.trace import compat
from jaxinterp.trace.evaluate import evaluate_part
from jaxinterp.trace.graph import Node
from jaxinterp.trace.nodes import contracted_axes, feature_axes
from jaxinterp.trace.program import Constant, Value
from jaxinterp.trace.roles import KINDS, Kind, Role

_LAYOUTS = (Kind.LAYOUT, Kind.CAST)


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One site in one pass.

    Attributes:
        node: the site in the graph.
        inputs: the activations that it reads.
        weights: what else it reads.
        output: the activation that it computes.
    """

    node: Node
    inputs: tuple[Any, ...]
    weights: Mapping[Value, Any]
    output: Any

    # --- Any site -----------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> Any:
        """Returns the site's function of its activations."""
        env = dict(self.weights) | dict(zip(self.node.inputs, inputs, strict=True))
        program = self.node.flow.program
        env = evaluate_part(program, self.node.equations, {**program.constants, **env})
        return env[self.node.outputs[0]]

    def pull_back(self, cotangent: Any) -> tuple[Any, ...]:
        """Returns the product of a cotangent with the Jacobian, for each input."""
        _, pull = jax.vjp(self, *self.inputs)
        return pull(cotangent.astype(self.output.dtype))

    @property
    def nonnegative(self) -> bool:
        """Whether the graph proves that no input has a negative entry."""
        return all(v in self.node.flow.nonnegative for v in self.node.inputs)

    @property
    def is_affine(self) -> bool:
        """Whether the site is a kernel or an elementwise scale, with what surrounds it."""
        return self.node.kernel is not None or self.node.role is Role.SCALE

    # --- Affine sites: z = linear(x, kernel) + bias --------------------------------------

    @cached_property
    def dtype(self) -> Any:
        """The dtype of relevance arithmetic: that of the activation, float32 at least."""
        return jnp.promote_types(self.output.dtype, jnp.float32)

    @cached_property
    def x(self) -> Any:
        """The input of an affine site."""
        (x,) = self.inputs
        return x.astype(self.dtype)

    @cached_property
    def z(self) -> Any:
        """The output of an affine site."""
        return self.output.astype(self.dtype)

    @cached_property
    def kernel(self) -> Any:
        """The folded weights: of a contraction, or elementwise of a scale."""
        if self.node.kernel is None:
            zeros = jnp.zeros_like(self.inputs[0])
            _, scale = jax.jvp(self, (zeros,), (jnp.ones_like(zeros),))
            return scale.astype(self.dtype)
        kernel = jnp.asarray(self._read(self._core.inputs[1 - self._side]))
        kernel = kernel.astype(self.dtype)
        if self.node.before:
            kernel = kernel * self._along_kernel(self._scale_before, incoming=True)
        if self.node.after:
            kernel = kernel * self._along_kernel(self._scale_after, incoming=False)
        return kernel

    @cached_property
    def bias(self) -> Any:
        """The output at zero input; broadcasts against `z`."""
        if self.node.kernel is None:
            return self(jnp.zeros_like(self.inputs[0])).astype(self.dtype)
        shape, dtype = self._core.outputs[0].shape, self._core.outputs[0].dtype
        start = jnp.zeros(shape, dtype)
        if self._shifts(self.node.before):
            shift, _ = self._chain(self.node.before, self.inputs[0] * 0)
            kernel = jnp.asarray(self._read(self._core.inputs[1 - self._side]))
            start = self._contract(shift, kernel.astype(shift.dtype)).astype(dtype)
        elif not self._shifts(self.node.after):
            return jnp.zeros((), self.dtype)
        bias, _ = self._chain(self.node.after, start)
        return bias.astype(self.dtype)

    def linear(self, x: Any, kernel: Any) -> Any:
        """Returns the linear map of the site with another input or another kernel.

        Args:
            x: like the site's input; may be of size 1 where the map only repeats.
            kernel: like `kernel`.
        """
        if self.node.kernel is None:
            return jnp.broadcast_to(x * kernel, self.output.shape)
        z = self._contract(x, kernel)
        z = jnp.broadcast_to(z, self._core.outputs[0].shape)
        return self._layout(z)

    def transpose(self, kernel: Any, cotangent: Any) -> Any:
        """Returns the transposed linear map of a cotangent of `z`.

        Args:
            kernel: like `kernel`.
            cotangent: like `z`.
        """
        spec = jax.ShapeDtypeStruct(self.x.shape, self.dtype)
        (back,) = jax.linear_transpose(lambda x: self.linear(x, kernel), spec)(cotangent)
        return back

    def uniform(self, value: float) -> Any:
        """Returns a constant input, of size 1 along the axes that the map repeats over."""
        if self.node.kernel is None:
            return jnp.full((1,) * self.x.ndim, value, self.dtype)
        keep = contracted_axes(self._core, self._side)
        if self._is_convolution:
            spec = self._core.params["dimension_numbers"].lhs_spec
            keep = frozenset(range(self.x.ndim)) - {spec[0]}
        shape = tuple(n if i in keep else 1 for i, n in enumerate(self.x.shape))
        return jnp.full(shape, value, self.dtype)

    def linear_ones(self) -> Any:
        """Returns how many entries of the input each output reads."""
        if not self._is_plain_convolution:
            ones = jnp.ones_like(self.kernel)
            return self.linear(self.uniform(1.0), ones)
        out_axis, in_axis, *_ = self._core.params["dimension_numbers"].rhs_spec
        channels = self.kernel.shape[in_axis]
        count = self._contract(self._one_channel(self.uniform(1.0)), self._window)
        count = jnp.broadcast_to(count * channels, self._core.outputs[0].shape)
        return self._layout(count)

    def transpose_ones(self, cotangent: Any) -> Any:
        """Returns the transposed map with a kernel of ones.

        Every channel reads the same, so one channel is computed for all.

        Args:
            cotangent: like `z`.
        """
        if not self._is_plain_convolution:
            return self.transpose(jnp.ones_like(self.kernel), cotangent)
        core = self._core.outputs[0]
        spec = jax.ShapeDtypeStruct(core.shape, self.dtype)
        (cotangent,) = jax.linear_transpose(self._layout, spec)(cotangent)
        features = self._core.params["dimension_numbers"].out_spec[1]
        summed = cotangent.sum(axis=features, keepdims=True)
        one = jax.eval_shape(self._one_channel, self.x)
        back = jax.linear_transpose(lambda x: self._contract(x, self._window), one)
        return jnp.broadcast_to(back(summed)[0], self.x.shape)

    @property
    def _is_plain_convolution(self) -> bool:
        if self.node.kernel is None or not self._is_convolution or self._side != 0:
            return False
        params = self._core.params
        return params["feature_group_count"] == params["batch_group_count"] == 1

    @property
    def _window(self) -> Any:
        """A kernel of ones for one channel."""
        out_axis, in_axis, *_ = self._core.params["dimension_numbers"].rhs_spec
        shape = list(self._core.inputs[1].shape)
        shape[out_axis] = shape[in_axis] = 1
        return jnp.ones(shape, self.dtype)

    def _one_channel(self, x: Any) -> Any:
        axis = self._core.params["dimension_numbers"].lhs_spec[1]
        return jax.lax.slice_in_dim(x, 0, 1, axis=axis)

    # --- Folding ------------------------------------------------------------------------

    @property
    def _core(self) -> Any:
        return self.node.flow.program.equations[self.node.kernel]

    @property
    def _is_convolution(self) -> bool:
        return self._core.primitive is p.conv_general_dilated_p

    @property
    def _side(self) -> int:
        """Which operand of the contraction is the activation."""
        lhs = self._core.inputs[0]
        return 0 if isinstance(lhs, Value) and lhs in self.node.flow.active else 1

    def _read(self, atom: Any) -> Any:
        if isinstance(atom, Constant):
            return atom.value
        constants = self.node.flow.program.constants
        return self.weights[atom] if atom in self.weights else constants[atom]

    def _contract(self, x: Any, kernel: Any) -> Any:
        params = dict(self._core.params)
        if params.get("preferred_element_type") is not None:
            params["preferred_element_type"] = np.dtype(x.dtype)
        operands = (x, kernel) if self._side == 0 else (kernel, x)
        (z,) = compat.bind(self._core.primitive, operands, params)
        return z

    def _chain(self, steps: tuple[int, ...], start: Any) -> tuple[Any, Any]:
        """Runs affine steps on a value; returns the result and the pull-back."""
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

    @cached_property
    def _scale_before(self) -> Any:
        """The factor of each entry of the contraction's input."""
        end, pull = self._chain(self.node.before, jnp.zeros_like(self.inputs[0]))
        return pull(jnp.ones_like(end))[0].astype(self.dtype)

    @cached_property
    def _scale_after(self) -> Any:
        """The factor of each entry of the contraction's output, in its own layout."""
        core = self._core.outputs[0]
        end, pull = self._chain(self.node.after, jnp.zeros(core.shape, core.dtype))
        return pull(jnp.ones_like(end))[0].astype(self.dtype)

    def _layout(self, z: Any) -> Any:
        """Brings a contraction's result into the shape of the site's output."""
        program = self.node.flow.program
        for index in self.node.after:
            equation = program.equations[index]
            if KINDS.get(equation.primitive) is Kind.LAYOUT:
                (z,) = compat.bind(equation.primitive, [z], equation.params)
        return z

    def _along_kernel(self, factor: Any, incoming: bool) -> Any:
        """Brings a factor of input or output features into the layout of the kernel."""
        kernel = self._core.inputs[1 - self._side].shape
        axes = (
            contracted_axes(self._core, self._side)
            if incoming
            else feature_axes(self._core, 1 - self._side)
        )
        one = tuple(slice(None) if i in axes else slice(0, 1) for i in range(factor.ndim))
        factor = factor[one]
        if self._is_convolution:
            return self._along_convolution(factor.reshape(-1), kernel, incoming)
        ((contracting, batch), n) = self._core.params["dimension_numbers"], len(kernel)
        ours, theirs = self._side, 1 - self._side
        if incoming:  # axes of x -> axes of the kernel
            move = dict(zip(contracting[ours], contracting[theirs], strict=True))
            move |= dict(zip(batch[ours], batch[theirs], strict=True))
        else:
            taken = {*contracting[theirs], *batch[theirs]}
            free = [i for i in range(n) if i not in taken]
            own = sorted(axes - set(range(len(batch[0]))))
            move = dict(zip(own, free, strict=True))
            move |= dict(zip(range(len(batch[0])), batch[theirs], strict=True))
        sources = sorted(move, key=lambda axis: move[axis])
        rest = [i for i in range(factor.ndim) if i not in move]
        factor = jnp.transpose(factor, [*sources, *rest])
        shape = [1] * n
        for source in sources:
            shape[move[source]] = self._factor_size(source, incoming)
        return factor.reshape(shape)

    def _factor_size(self, axis: int, incoming: bool) -> int:
        atom = self._core.inputs[self._side] if incoming else self._core.outputs[0]
        return atom.shape[axis]

    def _along_convolution(
        self, factor: Any, kernel: tuple[int, ...], incoming: bool
    ) -> Any:
        out_axis, in_axis, *_ = self._core.params["dimension_numbers"].rhs_spec
        shape = [1] * len(kernel)
        if not incoming:
            shape[out_axis] = kernel[out_axis]
            return factor.reshape(shape)
        groups = self._core.params["feature_group_count"]
        per_group = factor.reshape(groups, kernel[in_axis])
        repeated = jnp.repeat(per_group, kernel[out_axis] // groups, axis=0)
        shape[in_axis] = kernel[in_axis]
        shape[out_axis] = kernel[out_axis]
        order = repeated if out_axis < in_axis else repeated.T
        return order.reshape(shape)
