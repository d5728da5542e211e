"""Contractions of an activation with a kernel, as linear maps with a transpose.

A `Contraction` is the `dot_general` or `conv_general_dilated` at the heart of an affine
site. It is bilinear, so any kernel of the same shape can be put in the place of the
model's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from jaxinterp.tracing import compat
from jaxinterp.tracing.facts.axes import contracted_axes, feature_axes
from jaxinterp.tracing.program.program import Atom, Equation

# Strided convolutions of at most so many channels are transposed in their blocked form.
_FEW_CHANNELS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Contraction:
    """A bilinear map of an activation and a kernel.

    Attributes:
        equation: a `dot_general` or `conv_general_dilated`.
        side: the number of the operand that is the activation, 0 or 1.
    """

    equation: Equation
    side: int

    @property
    def kernel(self) -> Atom:
        """The operand that is the model's kernel."""
        return self.equation.inputs[1 - self.side]

    @property
    def is_convolution(self) -> bool:
        """Whether the equation is a convolution."""
        return self.equation.primitive is p.conv_general_dilated_p

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return self.equation.outputs[0].shape

    def __call__(self, x: Any, kernel: Any) -> Any:
        """Returns the contraction of other arrays, of other batch or feature sizes."""
        params = dict(self.equation.params)
        if params.get("preferred_element_type") is not None:
            params["preferred_element_type"] = np.dtype(x.dtype)
        operands = (x, kernel) if self.side == 0 else (kernel, x)
        (z,) = compat.bind(self.equation.primitive, operands, params)
        return z

    def transpose(self, kernel: Any, cotangent: Any) -> Any:
        """Returns the transposed map of a cotangent, an array like the result."""
        (back,) = self.transpose_each([kernel], cotangent)
        return back

    def transpose_each(self, kernels: Sequence[Any], cotangent: Any) -> list[Any]:
        """Returns the transposed maps of one cotangent for several kernels.

        For a convolution they are computed as one, with the kernels side by side.
        """
        shape = self.equation.inputs[self.side].shape
        dtype = cotangent.dtype
        if self._is_of_matrices:
            return [self._transpose_of_matrices(k, cotangent) for k in kernels]
        if not self.is_plain_convolution:
            spec = jax.ShapeDtypeStruct(shape, dtype)
            return [
                jax.linear_transpose(lambda x, k=k: self(x, k), spec)(cotangent)[0]
                for k in kernels
            ]
        features = self._lhs_spec[1]
        wide = [
            n * len(kernels) if axis == features else n for axis, n in enumerate(shape)
        ]
        spec = jax.ShapeDtypeStruct(tuple(wide), dtype)
        kernel = jnp.concatenate(list(kernels), axis=self._rhs_spec[1])
        forward = self._blocked if self._is_better_blocked(wide[features]) else self
        (back,) = jax.linear_transpose(lambda x: forward(x, kernel), spec)(cotangent)
        return jnp.split(back, len(kernels), axis=features)

    # --- Matrix products --------------------------------------------------------------

    @cached_property
    def _is_of_matrices(self) -> bool:
        """Whether kernel and result are matrices, once neighboring axes are merged."""
        if self.is_convolution or self.equation.params.get("out_sharding") is not None:
            return False
        contracted, batch = self.equation.params["dimension_numbers"]
        axes, n = contracted[1 - self.side], len(self.kernel.shape)
        is_merged = list(axes) in ([*range(len(axes))], [*range(n - len(axes), n)])
        return is_merged and 0 < len(axes) < n and not batch[0]

    def _transpose_of_matrices(self, kernel: Any, cotangent: Any) -> Any:
        """The transposed map as one product of two matrices.

        XLA copies a kernel with an axis of heads into another order before it
        multiplies with it transposed, and a matrix it does not.
        """
        params, shape = self.equation.params, self.equation.inputs[self.side].shape
        contracted, own = params["dimension_numbers"][0][1 - self.side], self.side
        reduced = params["dimension_numbers"][0][own]
        free = [i for i in range(len(shape)) if i not in reduced]
        is_first = contracted[0] == 0
        n_in = math.prod(shape[i] for i in reduced)
        n_out = math.prod(n for i, n in enumerate(kernel.shape) if i not in contracted)
        n_rows = math.prod(shape[i] for i in free)
        back = lax.dot_general(
            cotangent.reshape((n_rows, n_out) if own == 0 else (n_out, n_rows)),
            kernel.reshape((n_in, n_out) if is_first else (n_out, n_in)),
            (((1 - own,), (int(is_first),)), ((), ())),
            precision=params["precision"],
            preferred_element_type=cotangent.dtype,
        )
        axes = [*free, *reduced]
        return back.reshape([shape[i] for i in axes]).transpose(np.argsort(axes))

    # --- Weight-only terms ------------------------------------------------------------

    def uniform(self, value: float, dtype: Any) -> Any:
        """Returns a constant activation, of size 1 along axes where the map repeats."""
        shape = self.equation.inputs[self.side].shape
        sizes = tuple(n if i in self._read_axes else 1 for i, n in enumerate(shape))
        return jnp.full(sizes, value, dtype)

    @property
    def _read_axes(self) -> frozenset[int]:
        """The axes of the activation over which the map does not simply repeat."""
        if not self.is_convolution:
            return contracted_axes(self.equation, self.side)
        axes = frozenset(range(len(self.equation.inputs[self.side].shape)))
        is_repeated = self.side == 0 and self.equation.params["batch_group_count"] == 1
        return axes - {self._lhs_spec[0]} if is_repeated else axes

    def count(self, dtype: Any) -> Any:
        """Returns how many entries of the activation each result reads."""
        ones = self.uniform(1.0, dtype)
        if not self.is_plain_convolution:
            return self(ones, jnp.ones(self.kernel.shape, dtype))
        channels = self.kernel.shape[self._rhs_spec[1]]
        return channels * self(self._one_channel(ones), self._window(dtype))

    def transpose_count(self, cotangent: Any) -> Any:
        """Returns the transposed map with a kernel of ones.

        Every channel receives the same, so one channel is computed for all.
        """
        dtype = cotangent.dtype
        if not self.is_plain_convolution:
            return self.transpose(jnp.ones(self.kernel.shape, dtype), cotangent)
        shape = self.equation.inputs[0].shape
        features = self.equation.params["dimension_numbers"].out_spec[1]
        total = cotangent.sum(axis=features, keepdims=True)
        spec = jax.eval_shape(self._one_channel, jax.ShapeDtypeStruct(shape, dtype))
        back = jax.linear_transpose(lambda x: self(x, self._window(dtype)), spec)
        return jnp.broadcast_to(back(total)[0], shape)

    # --- Factors of features ----------------------------------------------------------

    def along_kernel(self, factor: Any, incoming: bool) -> Any:
        """Returns a factor of input or output features in the layout of the kernel.

        Args:
            factor: an array like the activation or the result, constant along the axes
                that the kernel has not.
            incoming: whether it multiplies the activation, and not the result.
        """
        if incoming:
            axes = contracted_axes(self.equation, self.side)
        else:
            axes = feature_axes(self.equation, 1 - self.side)
        one = tuple(
            slice(None) if i in axes else slice(0, 1) for i in range(factor.ndim)
        )
        factor = factor[one]
        if self.is_convolution:
            return self._along_convolution(factor.reshape(-1), incoming)
        move = self._kernel_axes(axes, incoming)
        sources = sorted(move, key=lambda axis: move[axis])
        rest = [i for i in range(factor.ndim) if i not in move]
        shape = [1] * len(self.kernel.shape)
        for source in sources:
            shape[move[source]] = factor.shape[source]
        return jnp.transpose(factor, [*sources, *rest]).reshape(shape)

    def _kernel_axes(self, axes: frozenset[int], incoming: bool) -> dict[int, int]:
        contracting, batch = self.equation.params["dimension_numbers"]
        ours, theirs = self.side, 1 - self.side
        if incoming:
            return {
                **dict(zip(contracting[ours], contracting[theirs], strict=True)),
                **dict(zip(batch[ours], batch[theirs], strict=True)),
            }
        bound = {*contracting[theirs], *batch[theirs]}
        free = [i for i in range(len(self.kernel.shape)) if i not in bound]
        in_front = dict(enumerate(batch[theirs]))
        own = sorted(axes - in_front.keys())
        return {**dict(zip(own, free, strict=True)), **in_front}

    def _along_convolution(self, factor: Any, incoming: bool) -> Any:
        kernel, (out_axis, in_axis, *_) = self.kernel.shape, self._rhs_spec
        shape = [1] * len(kernel)
        shape[out_axis] = kernel[out_axis]
        if not incoming:
            return factor.reshape(shape)
        groups = self.equation.params["feature_group_count"]
        per_group = factor.reshape(groups, kernel[in_axis])
        repeated = jnp.repeat(per_group, kernel[out_axis] // groups, axis=0)
        shape[in_axis] = kernel[in_axis]
        ordered = repeated if out_axis < in_axis else repeated.T
        return ordered.reshape(shape)

    # --- Convolutions -----------------------------------------------------------------

    @cached_property
    def is_plain_convolution(self) -> bool:
        """Whether it is a convolution of the left operand, without groups."""
        if not self.is_convolution or self.side != 0:
            return False
        params = self.equation.params
        return params["feature_group_count"] == params["batch_group_count"] == 1

    @property
    def _lhs_spec(self) -> tuple[int, ...]:
        return self.equation.params["dimension_numbers"].lhs_spec

    @property
    def _rhs_spec(self) -> tuple[int, ...]:
        return self.equation.params["dimension_numbers"].rhs_spec

    def _window(self, dtype: Any) -> Any:
        """A kernel of ones for one channel."""
        features = self._rhs_spec[:2]
        shape = [1 if i in features else n for i, n in enumerate(self.kernel.shape)]
        return jnp.ones(shape, dtype)

    def _one_channel(self, x: Any) -> Any:
        return lax.slice_in_dim(x, 0, 1, axis=self._lhs_spec[1])

    @property
    def has_faster_transpose(self) -> bool:
        """Whether `transpose` is faster than the derivative: strides, few channels."""
        if not self.is_plain_convolution:
            return False
        shape = self.equation.inputs[self.side].shape
        return self._is_better_blocked(shape[self._lhs_spec[1]])

    def _is_better_blocked(self, channels: int) -> bool:
        params = self.equation.params
        strides = params["window_strides"]
        is_dilated = {*params["lhs_dilation"], *params["rhs_dilation"]} != {1}
        is_strided = any(s > 1 for s in strides)
        return is_strided and not is_dilated and channels <= _FEW_CHANNELS

    def _blocked(self, x: Any, kernel: Any) -> Any:
        """The same convolution with stride 1, on blocks of pixels as channels.

        A stride that turns into channels (space to depth) makes the transposed map of
        an image, with its few channels, two to four times faster.
        """
        params, n = self.equation.params, len(self._lhs_spec) - 2
        strides, padding = params["window_strides"], params["padding"]
        x = jnp.transpose(
            x, (self._lhs_spec[0], *self._lhs_spec[2:], self._lhs_spec[1])
        )
        out_axis, in_axis, *window = self._rhs_spec
        kernel = jnp.transpose(kernel, (*window, in_axis, out_axis))
        out = [self.shape[i] for i in params["dimension_numbers"].out_spec[2:]]
        blocks = [-(-k // s) for k, s in zip(kernel.shape[:n], strides, strict=True)]
        sizes = [o + b - 1 for o, b in zip(out, blocks, strict=True)]
        edges = [
            (low, s * size - length - low, 0)
            for (low, _), s, size, length in zip(
                padding, strides, sizes, x.shape[1:-1], strict=True
            )
        ]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
        tail = [
            (0, b * s - k, 0)
            for b, s, k in zip(blocks, strides, kernel.shape[:n], strict=True)
        ]
        kernel = lax.pad(
            kernel, jnp.zeros((), kernel.dtype), [*tail, (0, 0, 0), (0, 0, 0)]
        )
        z = lax.conv_general_dilated(
            _space_to_depth(x, 1, sizes, strides),
            _space_to_depth(kernel, 0, blocks, strides),
            (1,) * n,
            "VALID",
            dimension_numbers=lax.ConvDimensionNumbers(
                (0, n + 1, *range(1, n + 1)),
                (n + 1, n, *range(n)),
                (0, n + 1, *range(1, n + 1)),
            ),
            precision=params["precision"],
        )
        batch, features, *spatial = params["dimension_numbers"].out_spec
        return jnp.transpose(z, np.argsort([batch, *spatial, features]).tolist())


def _space_to_depth(
    x: Any, start: int, sizes: Sequence[int], strides: Sequence[int]
) -> Any:
    """Turns windows of the axes from `start` on into the channels that follow them."""
    n = len(sizes)
    head, (channels, *tail) = x.shape[:start], x.shape[start + n :]
    split = [v for pair in zip(sizes, strides, strict=True) for v in pair]
    x = x.reshape(*head, *split, channels, *tail)
    axes = [
        *range(start),
        *range(start, start + 2 * n, 2),
        *range(start + 1, start + 2 * n, 2),
        *range(start + 2 * n, x.ndim),
    ]
    x = jnp.transpose(x, axes)
    return x.reshape(*head, *sizes, math.prod(strides) * channels, *tail)
