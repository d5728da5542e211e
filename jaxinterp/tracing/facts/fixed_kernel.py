"""What a contraction with a fixed kernel does: it copies entries, or turns pairs."""

from __future__ import annotations

import jax
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.checks import is_traced
from jaxinterp.tracing.facts.constants import known_array
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.program.program import Constant, Equation


def copies_entries(flow: Flow, equation: Equation, has_signs: bool = False) -> bool:
    """Whether each entry of a contraction's result is one entry of the activation.

    Args:
        flow: the program of the equation.
        equation: a `conv_general_dilated` or `dot_general` with one active operand.
        has_signs: whether an entry may also be minus one entry.
    """
    kernel = _kernel(flow, equation)
    if kernel is None:
        return False
    numbers = np.abs(kernel) if has_signs else kernel
    is_binary = bool(np.isin(numbers, (0, 1)).all())
    return is_binary and bool((numbers.sum(axis=1) == 1).all())


def turns_pairs(flow: Flow, equation: Equation) -> bool:
    """Whether a matrix product is a rotation that mixes at most two entries each.

    Args:
        flow: the program of the equation.
        equation: a `conv_general_dilated` or `dot_general` with one active operand.
    """
    kernel = _kernel(flow, equation)
    if equation.primitive is not p.dot_general_p or kernel is None:
        return False
    if kernel.shape[1] != kernel.shape[2] or ((kernel != 0).sum(axis=1) > 2).any():
        return False
    products = np.swapaxes(kernel, 1, 2) @ kernel
    return np.allclose(products, np.eye(kernel.shape[2]), atol=1e-5)


def _kernel(flow: Flow, equation: Equation) -> np.ndarray | None:
    """The kernel as matrices of inputs and outputs, `None` if it is not known."""
    (side,) = (i for i, v in enumerate(equation.inputs) if v not in flow.active)
    atom = equation.inputs[side]
    if isinstance(atom, Constant) or not (
        atom in flow.fixed or atom in flow.program.constants
    ):
        return None
    if is_traced(flow.program.constants.get(atom)):
        return None
    with jax.ensure_compile_time_eval():
        array = np.asarray(known_array(flow, atom))
    if equation.primitive is p.conv_general_dilated_p:
        if side != 1 or equation.params["batch_group_count"] != 1:
            return None
        features = equation.params["dimension_numbers"].rhs_spec[0]
        array = np.moveaxis(array, features, -1)
        return array.reshape(1, -1, array.shape[-1])
    contracting, batch = (d[side] for d in equation.params["dimension_numbers"])
    free = [i for i in range(array.ndim) if i not in (*contracting, *batch)]
    sizes = [int(np.prod([array.shape[i] for i in a])) for a in (batch, contracting)]
    return array.transpose(*batch, *contracting, *free).reshape(*sizes, -1)
