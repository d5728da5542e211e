r"""Affine maps written as products with weights, and their sum.

An example is a convolution as a sum of shifted products, $\sum_k w_k \odot
\mathrm{shift}_k(x)$, or of shifted matrix products. Such a map copies entries of its
input, multiplies the copies by weights, and adds the products up. So it is bilinear in
the input and in all weights, as one contraction is, and any other arrays can be put in
the place of the weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.tracing.compat import bind
from jaxinterp.tracing.facts.constants import known_mask
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Atom, Constant, Equation, Value

_FACTORS = (Kind.MULTIPLICATIVE, Kind.DIVISION, Kind.NEGATION)


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedSum:
    """The equations of such a map, and the arrays that they read.

    Attributes:
        flow: the program of the equations.
        equations: the indices of the equations, in order.
        products: those of them that multiply copies of entries by the weights.
        source: the activation that the map reads.
        env: the arrays of all other values that it reads; a value that is left out is
            a weight or a number that is added, of which only the shape matters.
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
        return self.apply(x, self._split(kernel))

    def apply(self, x: Any, weights: Sequence[Any], is_plain: bool = True) -> Any:
        """Returns the map with another input and other weights, and adds nothing.

        Args:
            x: an array like the input.
            weights: for each product, an array of the shape in `shapes`.
            is_plain: whether to leave out signs and all factors that are no weights.
        """
        arrays: dict[Value, Any] = {self.source: x.astype(self.dtype)}
        of_product = dict(zip(self.products, weights, strict=True))
        for index in self.equations:
            equation = self.flow.program.equations[index]
            operands = [
                arrays.get(v) if isinstance(v, Value) else None for v in equation.inputs
            ]
            if index in of_product:
                results = [self._product(equation, operands, of_product[index])]
            else:
                results = self._step(equation, operands, is_plain)
            for output, result in zip(equation.outputs, results, strict=True):
                full = jnp.broadcast_to(result, output.shape)
                arrays[output] = full.astype(self.dtype)
        (output,) = self.flow.program.equations[self.equations[-1]].outputs
        return arrays[output]

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
        return jnp.ones(sum(map(math.prod, self.shapes)), self.dtype)

    def kernel(self) -> Any:
        """Returns the weights, times all factors of their products, in a row."""
        equations = self.flow.program.equations
        weights = [self._weight(equations[i]) for i in self.products]
        rest = [equations[i] for i in self.equations if i not in self.products]
        if any(e.primitive.name == "sub" or _is_factor(e) for e in rest):
            # A weight has one factor, wherever it is read.
            ones = jnp.ones(self.source.shape, self.dtype)
            sums = [
                jax.grad(lambda w, p=p: jnp.sum(self.apply(ones, w, p)))(weights)
                for p in (False, True)
            ]
            weights = [
                w * factors / jnp.maximum(uses, 1)
                for w, factors, uses in zip(weights, *sums, strict=True)
            ]
        return jnp.concatenate([w.reshape(-1) for w in weights])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """For each product the shape of its weights, 1 along axes where they repeat."""
        return [
            self._own_shape(self.weight_of(self.flow.program.equations[i]))
            for i in self.products
        ]

    def weight_of(self, equation: Equation) -> Atom:
        """Returns the operand of a product that is the weights.

        Args:
            equation: a product of the map.
        """
        (weight,) = (v for v in equation.inputs if v not in self.flow.active)
        return weight

    def _own_shape(self, weight: Atom) -> tuple[int, ...]:
        axes = self.flow.varying_axes(weight)
        return tuple(n if i in axes else min(n, 1) for i, n in enumerate(weight.shape))

    def _split(self, kernel: Any) -> list[Any]:
        arrays, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            arrays.append(kernel[start : start + size].reshape(shape))
            start += size
        return arrays

    def _weight(self, equation: Equation) -> Any:
        weight = self.weight_of(equation)
        array = self._read(weight)
        array = array[tuple(slice(0, n) for n in self._own_shape(weight))]
        is_divisor = KINDS.get(equation.primitive) is Kind.DIVISION
        return 1 / array if is_divisor else array

    def _product(self, equation: Equation, operands: list[Any], weight: Any) -> Any:
        if KINDS.get(equation.primitive) is not Kind.KERNEL:
            (operand,) = (o for o in operands if o is not None)
            return operand * weight
        shape = self.weight_of(equation).shape
        full = jnp.broadcast_to(weight, shape)
        return _bind(equation, [full if o is None else o for o in operands])[0]

    def _step(
        self, equation: Equation, operands: list[Any], is_plain: bool
    ) -> Sequence[Any]:
        kind = KINDS.get(equation.primitive)
        present = [o for o in operands if o is not None]
        if kind is Kind.ADDITIVE:
            signs = (1, -1 if equation.primitive.name == "sub" and not is_plain else 1)
            terms = zip(signs, operands, strict=True)
            return [sum(sign * o for sign, o in terms if o is not None)]
        if kind in POINTWISE and is_plain and known_mask(self.flow, equation) is None:
            return present
        pairs = zip(operands, equation.inputs, strict=True)
        full = [self._other(kind, v, is_plain) if o is None else o for o, v in pairs]
        return _bind(equation, full)

    def _other(self, kind: Kind | None, atom: Atom, is_plain: bool) -> Any:
        """What a factor, an index or a number that is joined counts as."""
        array = self._read(atom)
        if kind is Kind.KERNEL:  # a sum, or patches
            return jnp.sign(jnp.abs(array)) if is_plain else array
        is_joined = kind not in POINTWISE and _is_real(array)
        return jnp.zeros_like(array) if is_joined else array

    def _read(self, atom: Atom) -> Any:
        if isinstance(atom, Constant):
            array = jnp.asarray(atom.value)
        elif atom in self.env:
            array = jnp.asarray(self.env[atom])
        else:
            array = jnp.zeros(atom.shape, atom.dtype)
        return array.astype(self.dtype) if _is_real(array) else array


def _is_real(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _is_factor(equation: Equation) -> bool:
    return KINDS.get(equation.primitive) in (*_FACTORS, Kind.KERNEL)


def _bind(equation: Equation, operands: Sequence[Any]) -> Sequence[Any]:
    """The results of an equation, not rounded to a half precision of the model."""
    params = dict(equation.params)
    if params.get("preferred_element_type") is not None:
        params["preferred_element_type"] = jnp.result_type(*operands)
    return bind(equation.primitive, operands, params)
