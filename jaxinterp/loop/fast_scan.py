"""`jax.lax.scan` in which convolutions are as fast on CPU as outside of it.

XLA calls its fast convolution on CPU if the axes of the operands are in the order
`(batch, *positions, channels)` and `(*positions, inputs, outputs)`. It brings others
into that order, such as those of a gradient, but not inside of a loop, where they take
ten times as long (jax-ml/jax#12868). So they are brought into it here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core
from jax.extend.core import primitives
from jax.interpreters import ad, batching, mlir

_plain_p = primitives.conv_general_dilated_p


def scan(body: Callable[[Any, Any], tuple[Any, Any]], state: Any, inputs: Any) -> Any:
    """Carries a state over inputs, as `jax.lax.scan` does.

    Args:
        body: a function `body(state, input) -> (state, output)`.
        state: a pytree of arrays, the first state.
        inputs: a pytree of arrays with one input for each step on their first axis.

    Returns:
        The last state, and the outputs of all steps, stacked on a new first axis.

    Example:
        >>> total, before = scan(lambda n, x: (n + x, n), 0, jnp.arange(3))
        >>> int(total), before.tolist()
        (3, [0, 0, 1])
    """
    return lax.scan(in_order(body), state, inputs)


def in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose convolutions have their axes in the order of XLA on CPU.

    That holds for their derivatives too. Those inside of loops of the function and of
    calls with custom derivatives stay as they are.

    Args:
        function: a function of pytrees of arrays.
    """

    @functools.wraps(function)
    def ordered(*args: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        if not _has_convolution(program.jaxpr):
            return function(*args)
        values = _evaluate(program, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), values)

    return ordered


# --- Programs -------------------------------------------------------------------------


def _has_convolution(jaxpr: Any) -> bool:
    """Whether a program has a convolution, itself or in a jitted call."""
    return any(
        eqn.primitive is _plain_p
        or (_is_jitted(eqn) and _has_convolution(eqn.params["jaxpr"].jaxpr))
        for eqn in jaxpr.eqns
    )


def _is_jitted(eqn: core.JaxprEqn) -> bool:
    return eqn.primitive is primitives.jit_p


def _evaluate(program: Any, args: list[Any]) -> list[Any]:
    """Evaluates a closed jaxpr with ordered convolutions."""
    jaxpr = program.jaxpr
    values = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        operands = [value(atom) for atom in eqn.invars]
        if eqn.primitive is _plain_p:
            results = [_ordered_p.bind(*operands, **eqn.params)]
        elif _is_jitted(eqn) and _has_convolution(eqn.params["jaxpr"].jaxpr):
            results = _evaluate(eqn.params["jaxpr"], operands)
        else:
            results = _evaluate_one(jaxpr, eqn, operands)
        values |= dict(zip(eqn.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _evaluate_one(jaxpr: Any, eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
    """Evaluates one equation as it is."""
    variables = {
        atom: operand
        for atom, operand in zip(eqn.invars, operands, strict=True)
        if not isinstance(atom, core.Literal)
    }
    one = jaxpr.replace(
        constvars=[], invars=list(variables), outvars=eqn.outvars, eqns=[eqn]
    )
    closed = core.ClosedJaxpr(one, ())  # pyright: ignore[reportPrivateImportUsage]
    return core.jaxpr_as_fun(closed)(*variables.values())


# --- A convolution whose axes are ordered when it is compiled for CPU -----------------

_ordered_p = core.Primitive("ordered_convolution")
_ordered_p.def_abstract_eval(
    lambda *operands, **params: _plain_p.abstract_eval(*operands, **params)[0]
)


@_ordered_p.def_impl
def _plain(lhs: Any, rhs: Any, **params: Any) -> Any:
    return _plain_p.bind(lhs, rhs, **params)


def _with_ordered_axes(
    lhs: Any, rhs: Any, *, dimension_numbers: Any, **params: Any
) -> Any:
    batch, channels, *positions = dimension_numbers.lhs_spec
    outputs, inputs, *places = dimension_numbers.rhs_spec
    lhs = lhs.transpose(batch, *positions, channels)
    rhs = rhs.transpose(*places, inputs, outputs)
    last = lhs.ndim - 1
    data, kernel = (0, last, *range(1, last)), (last, last - 1, *range(last - 1))
    ordered = lax.ConvDimensionNumbers(data, kernel, data)
    result = _plain(lhs, rhs, dimension_numbers=ordered, **params)
    batch, channels, *positions = dimension_numbers.out_spec
    return result.transpose(np.argsort([batch, *positions, channels]))


def _gradient_left(gradient: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    pull = jax.linear_transpose(lambda x: _plain(x, rhs, **params), lhs.aval)
    return in_order(pull)(gradient)[0]


def _gradient_right(gradient: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    pull = jax.linear_transpose(lambda w: _plain(lhs, w, **params), rhs.aval)
    return in_order(pull)(gradient)[0]


def _mapped(operands: Any, axes: Any, **params: Any) -> tuple[Any, int]:
    mapped = jax.vmap(functools.partial(_plain, **params), in_axes=tuple(axes))
    return in_order(mapped)(*operands), 0


ad.defbilinear(_ordered_p, _gradient_left, _gradient_right)
batching.primitive_batchers[_ordered_p] = _mapped
mlir.register_lowering(_ordered_p, mlir.lower_fun(_plain, multiple_results=False))
mlir.register_lowering(
    _ordered_p,
    mlir.lower_fun(_with_ordered_axes, multiple_results=False),
    platform="cpu",
)
