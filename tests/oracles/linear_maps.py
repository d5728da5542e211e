r"""Dense matrices of convolutions and average pooling, by explicit loops.

Layouts are JAX's channels-last ones. An input, without its batch axis, is
`(*spatial, channels)`; a kernel is `(*window, channels / groups, features)`. Both are
flattened in row-major order, so that `matrix @ x.reshape(-1)` is the flattened output.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from .stabilizers import Array


def output_length(
    length: int,
    window: int,
    stride: int,
    padding: Sequence[int],
    lhs_dilation: int = 1,
    rhs_dilation: int = 1,
) -> int:
    """Counts the places where a window fits into one padded, dilated axis."""
    spread = (length - 1) * lhs_dilation + 1 + padding[0] + padding[1]
    reach = (window - 1) * rhs_dilation + 1
    return (spread - reach) // stride + 1


def source(
    place: int,
    tap: int,
    length: int,
    stride: int,
    padding: Sequence[int],
    lhs_dilation: int = 1,
    rhs_dilation: int = 1,
) -> int | None:
    """Returns which input a tap of the window at `place` reads; None for padding."""
    position = place * stride + tap * rhs_dilation - padding[0]
    if position % lhs_dilation != 0:
        return None  # one of the zeros that dilate the input
    index = position // lhs_dilation
    return index if 0 <= index < length else None


def convolution(
    input_shape: Sequence[int],
    kernel: Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> tuple[Array, tuple[int, ...]]:
    """Returns the matrix of a convolution, and the shape of its output.

    The arguments are those of `jax.lax.conv_general_dilated`, so that `lhs_dilation`
    makes it a transposed convolution. The kernel is not flipped.
    """
    *lengths, channels = input_shape
    rank = len(lengths)
    window, (per_group, features) = kernel.shape[:rank], kernel.shape[rank:]
    assert per_group * groups == channels, "the kernel has the wrong input channels"
    lhs = tuple(lhs_dilation or (1,) * rank)
    rhs = tuple(rhs_dilation or (1,) * rank)
    axes = tuple(zip(lengths, strides, padding, lhs, rhs, strict=True))
    outputs = tuple(
        output_length(n, w, s, p, a, b)
        for w, (n, s, p, a, b) in zip(window, axes, strict=True)
    )
    matrix = np.zeros((*outputs, features, *input_shape))
    for place in itertools.product(*map(range, outputs)):
        for tap in itertools.product(*map(range, window)):
            read = tuple(
                source(place[d], tap[d], n, s, p, a, b)
                for d, (n, s, p, a, b) in enumerate(axes)
            )
            if None in read:
                continue
            for feature in range(features):
                group = feature // (features // groups)
                for channel in range(per_group):
                    weight = kernel[(*tap, channel, feature)]
                    column = (*read, group * per_group + channel)
                    matrix[(*place, feature, *column)] += weight
    size = int(np.prod(input_shape))
    return matrix.reshape(-1, size), (*outputs, features)


def average_pool(
    input_shape: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tuple[Array, tuple[int, ...]]:
    """Returns the matrix of average pooling, and the shape of its output.

    Padding counts: a mean is over the whole window, as torch's `count_include_pad`.
    """
    channels = input_shape[-1]
    kernel = np.ones((*window, 1, channels)) / np.prod(window)
    return convolution(input_shape, kernel, strides, padding, groups=channels)


def dense(input_shape: Sequence[int], kernel: Array) -> tuple[Array, tuple[int, ...]]:
    """Returns the matrix of `x @ kernel`, applied along the last axis."""
    *leading, inputs = input_shape
    outputs = kernel.shape[1]
    matrix = np.zeros((*leading, outputs, *leading, inputs))
    for place in np.ndindex(*leading):
        matrix[(*place, slice(None), *place)] = kernel.T
    size = int(np.prod(input_shape))
    return matrix.reshape(-1, size), (*leading, outputs)
