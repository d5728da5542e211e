"""Which axis of a result comes from which axis of an operand."""

from __future__ import annotations

from jax.extend.core import primitives as p

from jaxinterp.tracing.program.program import Equation


def reshape_groups(
    old: tuple[int, ...], new: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Returns which axes of the old shape become which axes of the new one.

    Args:
        old: the shape before the reshape.
        new: the shape after the reshape, with as many entries.

    Returns:
        Pairs of consecutive old axes and the new axes that hold the same entries.

    Example:
        >>> reshape_groups((2, 12, 1), (2, 3, 4))
        [((0,), (0,)), ((1, 2), (1, 2))]
    """
    if 0 in old:
        return [(tuple(range(len(old))), tuple(range(len(new))))]
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        olds, news, left, right = [], [], 1, 1
        if i < len(old):
            olds, left, i = [i], old[i], i + 1
        if j < len(new):
            news, right, j = [j], new[j], j + 1
        while left != right:
            if left < right:
                olds.append(i)
                left, i = left * old[i], i + 1
            else:
                news.append(j)
                right, j = right * new[j], j + 1
        groups.append((tuple(olds), tuple(news)))
    while len(groups) > 1 and not all(groups[-1]):  # trailing axes of size 1
        olds, news = groups.pop()
        groups[-1] = (groups[-1][0] + olds, groups[-1][1] + news)
    return groups


def feature_axes(equation: Equation, kernel: int) -> frozenset[int]:
    """Returns the axes of a contraction's result that the kernel indexes.

    Args:
        equation: a `conv_general_dilated` or `dot_general`.
        kernel: the number of the operand that is the kernel, 0 or 1.
    """
    if equation.primitive is p.conv_general_dilated_p:
        if kernel != 1 or equation.params["batch_group_count"] != 1:
            return frozenset()
        return frozenset({equation.params["dimension_numbers"].out_spec[1]})
    (contracting, batch) = equation.params["dimension_numbers"]
    lhs, rhs = equation.inputs
    n_batch = len(batch[0])
    n_lhs = len(lhs.shape) - n_batch - len(contracting[0])
    n_rhs = len(rhs.shape) - n_batch - len(contracting[1])
    free = range(n_batch, n_batch + n_lhs)
    if kernel == 1:
        free = range(n_batch + n_lhs, n_batch + n_lhs + n_rhs)
    return frozenset(range(n_batch)) | frozenset(free)


def contracted_axes(equation: Equation, x: int) -> frozenset[int]:
    """Returns the axes of the activation that the kernel indexes too.

    Args:
        equation: a `conv_general_dilated` or `dot_general`.
        x: the number of the operand that is the activation, 0 or 1.
    """
    if equation.primitive is p.conv_general_dilated_p:
        if x != 0 or equation.params["batch_group_count"] != 1:
            return frozenset()
        return frozenset({equation.params["dimension_numbers"].lhs_spec[1]})
    (contracting, batch) = equation.params["dimension_numbers"]
    return frozenset(contracting[x]) | frozenset(batch[x])


def relabel(equation: Equation, labels: list[frozenset[int]]) -> list[frozenset[int]]:
    """Returns the labels of the result's axes, for an equation that changes the layout.

    Args:
        equation: a transpose, broadcast, reshape or squeeze.
        labels: for each axis of the operand, its labels.
    """
    (operand, *_), (output,) = equation.inputs, equation.outputs
    if equation.primitive is p.transpose_p:
        return [labels[i] for i in equation.params["permutation"]]
    result = [frozenset() for _ in output.shape]
    if equation.primitive is p.broadcast_in_dim_p:
        for i, axis in enumerate(equation.params["broadcast_dimensions"]):
            result[axis] = labels[i]
        return result
    for olds, news in reshape_groups(operand.shape, output.shape):
        union = frozenset().union(*(labels[i] for i in olds))
        for axis in news:
            result[axis] = union if output.shape[axis] != 1 else frozenset()
    return result
