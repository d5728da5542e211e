r"""Affine maps written as products with weights, and their sum: no contraction.

An example is a convolution as a sum of shifted products, $\sum_k w_k \odot
\mathrm{shift}_k(x)$. Such a map copies entries of its input, multiplies each copy by a
weight of its own, and adds the products up; every entry of the input meets an entry of
the output at most once. So it is bilinear in the input and in the array of all weights,
as a contraction is, and any other array can be put in the place of the weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.tracing.compat import bind
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Constant, Equation, Value


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedSum:
    """The equations of such a map, and the arrays that they read.

    Attributes:
        flow: the program of the equations.
        equations: the indices of the equations, in order.
        products: those of them that multiply copies of entries by the weights.
        source: the activation that the map reads.
        env: the arrays of all other values that it reads.
        dtype: the dtype of the result.
    """

    flow: Flow
    equations: tuple[int, ...]
    products: tuple[int, ...]
    source: Value
    env: Mapping[Value, Any]
    dtype: Any

    def __call__(self, x: Any, kernel: Any) -> Any:
        """Returns the map with another input and other weights.

        Args:
            x: an array like the input.
            kernel: an array like `kernel()`.
        """
        return self._run(x, self._split(kernel), is_plain=True)[0]

    def transpose_each(self, kernels: Sequence[Any], cotangent: Any) -> list[Any]:
        """Returns the transposed maps of one cotangent, for several arrays of weights.

        Args:
            kernels: arrays like `kernel()`.
            cotangent: an array like the result.
        """
        spec = jax.ShapeDtypeStruct(self.source.shape, self.dtype)
        return [
            jax.linear_transpose(lambda x, k=k: self(x, k), spec)(cotangent)[0]
            for k in kernels
        ]

    def ones(self) -> Any:
        """Returns weights of ones."""
        return jnp.ones(
            sum(math.prod(self._output(i).shape) for i in self.products), self.dtype
        )

    def kernel(self) -> Any:
        """Returns the weights, times all factors of their products, in a row."""
        ones = jnp.ones(self.source.shape, self.dtype)
        zeros = [jnp.zeros(self._output(i).shape, self.dtype) for i in self.products]
        _, products = self._run(ones, zeros, is_plain=False)

        def total(offsets: list[Any]) -> Any:
            return jnp.sum(self._run(0 * ones, offsets, is_plain=False)[0])

        after = jax.grad(total)(zeros)
        return jnp.concatenate(
            [(a * b).reshape(-1) for a, b in zip(products, after, strict=True)]
        )

    def _output(self, index: int) -> Value:
        return self.flow.program.equations[index].outputs[0]

    def _split(self, kernel: Any) -> list[Any]:
        factors, start = [], 0
        for index in self.products:
            shape = self._output(index).shape
            size = math.prod(shape)
            factors.append(kernel[start : start + size].reshape(shape))
            start += size
        return factors

    def _run(
        self, x: Any, factors: Sequence[Any], is_plain: bool
    ) -> tuple[Any, list[Any]]:
        """Runs the map without what it adds.

        A plain run leaves out all factors, and multiplies by `factors` instead of the
        weights. Any other run adds `factors` to the products, and returns these too.
        """
        arrays: dict[Value, Any] = {self.source: x}
        of_product = dict(zip(self.products, factors, strict=True))
        products = []
        for index in self.equations:
            equation = self.flow.program.equations[index]
            operands = [
                arrays.get(v) if isinstance(v, Value) else None for v in equation.inputs
            ]
            if all(o is None for o in operands):
                continue
            (output,) = equation.outputs
            if index in of_product and is_plain:
                result = _only(operands) * of_product[index]
            else:
                result = self._step(equation, operands, is_plain)
                if index in of_product:
                    products.append(result)
                    result = result + of_product[index]
            arrays[output] = jnp.broadcast_to(result, output.shape).astype(self.dtype)
        return arrays[self._output(self.equations[-1])], products

    def _step(self, equation: Equation, operands: list[Any], is_plain: bool) -> Any:
        kind = KINDS.get(equation.primitive)
        others = [self._read(v) for v in equation.inputs]
        if kind is Kind.ADDITIVE:
            signs = (1, -1 if equation.primitive.name == "sub" and not is_plain else 1)
            terms = zip(signs, operands, strict=True)
            return sum(sign * o for sign, o in terms if o is not None)
        if kind in POINTWISE and is_plain:
            return _only(operands)
        if kind in POINTWISE:
            full = [
                b if a is None else a for a, b in zip(operands, others, strict=True)
            ]
            return _bind(equation, full)
        # A move joins entries to zeros, where the model has constants.
        full = [
            a if a is not None else jnp.zeros_like(b) if _is_real(b) else b
            for a, b in zip(operands, others, strict=True)
        ]
        if kind is Kind.KERNEL:
            ones = jnp.ones_like if is_plain else jnp.asarray
            pairs = zip(operands, others, strict=True)
            full = [ones(b) if a is None else a for a, b in pairs]
        return _bind(equation, full)

    def _read(self, atom: Any) -> Any:
        if isinstance(atom, Constant):
            return jnp.asarray(atom.value)
        return self.env.get(atom)


def _is_real(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _only(operands: Sequence[Any]) -> Any:
    (operand,) = (o for o in operands if o is not None)
    return operand


def _bind(equation: Equation, operands: Sequence[Any]) -> Any:
    dtypes = [v.dtype for v in equation.inputs]
    arrays = [
        jnp.asarray(o).astype(dtype) for o, dtype in zip(operands, dtypes, strict=True)
    ]
    (result,) = bind(equation.primitive, arrays, equation.params)
    return result
