"""What an equation reads, against where its derivative is not zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.facts.extents import Reads, UnknownReads, both, read_by
from tests.tracing.arrays import normal

IMAGE = jnp.ones((1, 2, 9, 8))
LAST = jnp.ones((1, 9, 8, 2))
MATRIX = jnp.ones((6, 5))
DEEP = jnp.ones((2, 6, 5))


def windowed(window, strides, padding, dilation=None):
    def pool(x):
        return lax.reduce_window(
            x, 0.0, lax.add, window, strides, padding, window_dilation=dilation
        )

    return pool


# A function of one equation, its input, and the axes of the result that are followed.
EQUATIONS = {
    "convolution": (
        lambda x: lax.conv_general_dilated(
            x, jnp.ones((3, 2, 3, 2)), (2, 1), ((1, 0), (0, 1)), rhs_dilation=(1, 2)
        ),
        *(IMAGE, (2, 3)),
    ),
    "channels last": (
        lambda x: lax.conv_general_dilated(
            *(x, jnp.ones((4, 2, 2, 3)), (3, 2), ((2, 2), (0, 0))),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        *(LAST, (1, 2)),
    ),
    "pool": (
        windowed((1, 3, 2, 1), (1, 2, 3, 1), ((0, 0), (1, 1), (0, 0), (0, 0))),
        *(LAST, (1, 2)),
    ),
    "spread pool": (windowed((2, 1), (1, 1), "VALID", (3, 1)), MATRIX, (0, 1)),
    "product": (lambda x: lax.dot(x, jnp.ones((5, 3))), MATRIX, (0,)),
    "product from the left": (lambda x: lax.dot(jnp.ones((3, 6)), x), MATRIX, (1,)),
    "product of a batch": (
        lambda x: lax.dot_general(x, jnp.ones((2, 5, 3)), (((2,), (1,)), ((0,), (0,)))),
        *(DEEP, (0, 1)),
    ),
    "product of a batch from the left": (
        lambda x: lax.dot_general(
            jnp.ones((2, 3, 4, 6)), x, (((3,), (1,)), ((0,), (0,)))
        ),
        *(DEEP, (0, 3)),
    ),
    "sum": (lambda x: x.sum(1), DEEP, (0, 1)),
    "transposition": (lambda x: x.transpose(2, 0, 1), DEEP, (0, 1, 2)),
    "broadcast": (
        lambda x: lax.broadcast_in_dim(x, (6, 3, 5), (0, 2)),
        *(MATRIX, (0, 2)),
    ),
    "split axis": (lambda x: x.reshape(3, 2, 5), MATRIX, (0, 2)),
    "axis of size one": (lambda x: x.reshape(6, 1, 5), MATRIX, (0, 2)),
    "slice": (lambda x: lax.slice(x, (1, 2), (6, 5), (2, 1)), MATRIX, (0, 1)),
    "padding": (lambda x: lax.pad(x, 0.0, ((2, 1, 0), (-1, 0, 0))), MATRIX, (0, 1)),
    "joined": (lambda x: lax.concatenate([x, jnp.ones((6, 2))], 1), MATRIX, (0,)),
    "tanh": (jnp.tanh, MATRIX, (0, 1)),
}


def what_is_read(fn, x, axes):
    graph = trace(lambda w, x: fn(x), None, x)
    equation = graph.program.equations[-1]
    active = graph.flows[graph.program].active
    (position,) = (i for i, v in enumerate(equation.inputs) if v in active)
    rank = len(equation.outputs[0].shape)
    own = tuple(Reads(i, 1, 0, 0) if i in axes else None for i in range(rank))
    return read_by(equation, position, own)


@pytest.mark.parametrize(("fn", "x", "axes"), EQUATIONS.values(), ids=EQUATIONS.keys())
def test_a_position_depends_on_what_it_reads(fn, x, axes):
    is_read = np.asarray(jax.jacobian(fn)(x)) != 0
    rank = is_read.ndim - x.ndim
    extent = what_is_read(fn, x, axes)
    assert {reads.axis for reads in extent if reads is not None} <= set(axes)
    n_checked = 0
    for axis, reads in enumerate(extent):
        if reads is None:
            continue
        others = tuple(set(range(is_read.ndim)) - {reads.axis, rank + axis})
        for position, row in enumerate(is_read.any(others)):
            (entries,) = np.nonzero(row)
            low, high = (reads.stride * position + e for e in (reads.low, reads.high))
            assert all(low <= entry <= high for entry in entries)
            if low >= 0 and high < x.shape[axis]:
                assert (entries.min(), entries.max()) == (low, high)
                n_checked += 1
    assert n_checked
    assert sum(reads is not None for reads in extent) == len(axes)


def test_a_contraction_and_a_sum_read_whole_axes():
    assert what_is_read(*EQUATIONS["product"])[1] is None
    assert what_is_read(*EQUATIONS["product of a batch"])[2] is None
    assert what_is_read(*EQUATIONS["sum"])[1] is None


@pytest.mark.parametrize(
    ("fn", "x", "message"),
    [
        (
            lambda x: lax.conv_transpose(x, normal(3, 3, 2, 2), (2, 2), "SAME"),
            LAST,
            "unlike",
        ),
        (
            lambda x: lax.conv(jnp.ones((1, 2, 9, 9)), x, (1, 1), "SAME"),
            IMAGE,
            "kernel",
        ),
        (lambda x: x.reshape(30), MATRIX, "joins positions"),
        (lambda x: x.reshape(3, 2, 5), MATRIX, "joins positions"),
        (
            lambda x: lax.concatenate([x, jnp.ones((2, 5))], 0),
            MATRIX,
            "apart or joined",
        ),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 1), (0, 0, 0))), MATRIX, "unlike windows"),
        (lambda x: lax.rev(x, (0,)), MATRIX, "`rev` may take"),
    ],
)
def test_what_cannot_be_told_is_an_error(fn, x, message):
    with pytest.raises(UnknownReads, match=message):
        what_is_read(fn, x, range(4))


def test_two_paths_read_what_either_reads():
    narrow, wide = Reads(1, 2, 0, 1), Reads(1, 2, -1, 0)
    assert both((narrow, None), (wide, None)) == (Reads(1, 2, -1, 1), None)
    assert both((narrow,), (None,)) == both((None,), (narrow,)) == (None,)
    for other in (Reads(1, 1, 0, 1), Reads(0, 2, 0, 1)):
        with pytest.raises(UnknownReads, match="different strides"):
            both((narrow,), (other,))
