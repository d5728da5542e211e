"""Functions of each entry alone, told apart by arithmetic and not by spelling.

Equations that compute each entry of their result from the same entry of one value are
a function of one number. It is evaluated at a few numbers, in float32: that says
whether it is an activation, an exponential, and on which side it saturates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.checks import is_traced
from jaxinterp.tracing.compat import bind
from jaxinterp.tracing.facts.constants import mask_factor
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Atom, Constant, Equation, Value

# Far enough for any threshold, near enough for powers of an exponential in float32.
_FAR = 20.0
_HALF = np.array([1e-3, 0.5, 1, 2, 4, 8, _FAR / 2, _FAR], np.float32)
POINTS = np.concatenate([-_HALF[::-1], _HALF])

# What stands for a weight, whose value is not known while the model is traced.
_WEIGHT = 0.25

# A function may grow like a square and be an activation, but not like a cube.
_MOST_GROWTH = 4.5
_MOST_AT_ZERO = 50.0


class _Step(NamedTuple):
    """An equation of one number; an operand is an earlier result or a number."""

    primitive: Primitive
    params: dict[str, Any]
    operands: tuple[int | np.ndarray, ...]

    @property
    def key(self) -> Any:
        """What equal steps have in common."""
        operands = tuple(
            o if isinstance(o, int) else (str(o.dtype), o.item()) for o in self.operands
        )
        return self.primitive, repr(sorted(self.params.items())), operands


@dataclasses.dataclass(frozen=True)
class Curve:
    """The graph of a function of one number, at numbers of both signs.

    Attributes:
        y: what the function is at each of them.
        slope: its derivative, as JAX has it.
    """

    y: np.ndarray
    slope: np.ndarray

    @property
    def is_activation(self) -> bool:
        """Whether it is a nonlinearity of networks, and no power or logarithm.

        It is finite at every number, not affine, grows at most like a square, and is
        not an even function without bound, as a square or an absolute value is.
        """
        if not np.isfinite(self.y).all():
            return False
        if np.ptp(self.slope) <= 1e-5 * np.abs(self.slope).max():
            return False
        n = len(_HALF)
        if np.abs(self.y[n - 1 : n + 1]).max() > _MOST_AT_ZERO:
            return False
        far = np.abs(self.y[[0, -1]])
        near = np.abs(self.y[[1, -2]])
        if (far > _MOST_GROWTH * np.maximum(near, 1.0)).any():
            return False
        is_even = np.allclose(self.y, self.y[::-1], rtol=1e-4, atol=1e-6)
        is_unbounded = far.min() > 2 * np.abs(self.y[n - 4 : n + 4]).max()
        return not (is_even and is_unbounded)

    @property
    def is_gate(self) -> bool:
        """Whether it runs from zero to one, or from one to zero, and stays there."""
        if np.abs(self.slope[[0, -1]]).max() > 1e-3:
            return False  # as of a relu whose slope is 1/20
        ends = sorted((float(self.y[0]), float(self.y[-1])))
        is_between = bool((self.y >= -1e-4).all() and (self.y <= 1 + 1e-4).all())
        return is_between and ends[0] < 1e-3 and ends[1] > 1 - 1e-3

    @property
    def is_exponential(self) -> bool:
        r"""Whether it is $a\,b^x$ with positive $a$, and $b$ not one."""
        near = np.abs(POINTS) <= 8
        x, y = POINTS[near], self.y[near]
        if not (np.isfinite(y).all() and (y > 0).all()):
            return False
        logarithm = np.log(y)
        rate = (logarithm[-1] - logarithm[0]) / (x[-1] - x[0])
        line = logarithm[0] + rate * (x - x[0])
        return bool(abs(rate) > 1e-3 and np.allclose(logarithm, line, atol=2e-3))

    @property
    def is_power(self) -> bool:
        r"""Whether it is $a\,x^b$ for positive $x$, with positive $a$ and $b$."""
        x, y = _HALF, self.y[len(_HALF) :]
        if not (np.isfinite(y).all() and (y > 0).all()):
            return False
        rates = np.diff(np.log(y)) / np.diff(np.log(x))
        return bool(rates[0] > 0 and np.allclose(rates, rates[0], rtol=1e-3))

    @property
    def orientation(self) -> tuple[float, float, float]:
        """Signs and size of the function, see `orientation`."""
        with jax.ensure_compile_time_eval():
            a, b, size = orientation(self.slope)
        # Without the rounding errors of one spelling.
        return float(a), float(b), float(f"{float(size):.3g}")


def orientation(slope: Any) -> tuple[Any, Any, Any]:
    r"""Returns signs and size with which functions are steepest, upward, on the right.

    The function is $a f(b x)$ with signs $a$ and $b$, and the size is $c$.

    A relu is as it should be, $a = b = 1$, and $\min(x, 0)$ is a relu turned by
    $a = b = -1$. A function with the same slope far on both sides, such as tanh, keeps
    its argument, $b = 1$. The size is the slope on the right, or if that is zero or
    grows, the largest; it is one for a function that grows like a square.

    Args:
        slope: the slopes of functions of one number at `POINTS`, along the first axis.
    """
    slope = jnp.asarray(slope)
    left, right = slope[0], slope[-1]
    larger = jnp.maximum(jnp.abs(left), jnp.abs(right))
    difference = jnp.abs(jnp.abs(left) - jnp.abs(right))
    is_same = difference <= 1e-3 * jnp.maximum(larger, 1e-3)
    rising = slope[len(_HALF) :]
    largest = jnp.argmax(jnp.abs(rising), axis=0, keepdims=True)
    steepest = jnp.take_along_axis(rising, largest, axis=0)[0]
    b = jnp.where(is_same | (jnp.abs(right) > jnp.abs(left)), 1.0, -1.0)
    far = jnp.where(b > 0, right, -left)  # the last slope of f(b x)
    near = jnp.abs(jnp.where(b > 0, slope[-2], slope[1]))
    grows = ~is_same & (jnp.abs(far) > 1.5 * near)
    far = jnp.where(is_same, steepest, far)
    return jnp.sign(far), b, jnp.where(grows, 1.0, jnp.abs(far))


_CURVES: dict[Any, Curve | None] = {}


def curve(flow: Flow, equations: Iterable[int], source: Value) -> Curve | None:
    """Returns the function of one number that equations compute from a value.

    Args:
        flow: the program.
        equations: the indices of the equations, all of them functions of each entry
            alone; the last one gives the result.
        source: the only active value that they read.

    Returns:
        The function; `None` if it is not the same one for all entries, as with
        different fixed numbers for different entries. A weight counts as 0.25, and
        a mask keeps all entries.
    """
    numbers: dict[Value, int] = {source: 0}
    steps = []
    for index in sorted(equations):
        equation = flow.program.equations[index]
        kept = _kept(flow, equation)
        if kept in numbers:
            numbers[equation.outputs[0]] = numbers[kept]
            continue
        every = [_operand(flow, v, numbers) for v in equation.inputs]
        operands = tuple(o for o in every if o is not None)
        if len(operands) < len(every) or len(equation.outputs) != 1:
            return None
        steps.append(_Step(equation.primitive, equation.params, operands))
        numbers[equation.outputs[0]] = len(steps)
    key = tuple(step.key for step in steps)
    if key not in _CURVES:
        _CURVES[key] = _tabulate(steps)
    return _CURVES[key]


def _kept(flow: Flow, equation: Equation) -> Value | None:
    """The activation of which an equation keeps some entries, if it is a mask."""
    active = [v for v in equation.values if v in flow.active]
    is_choice = KINDS.get(equation.primitive) is Kind.CHOICE
    is_choice = is_choice and constant_number(flow, equation.inputs[0]) is None
    is_mask = is_choice or mask_factor(flow, equation) is not None
    return active[0] if len(active) == 1 and is_mask else None


def last_curve(flow: Flow, value: Value) -> Curve | None:
    """Returns what a value is as a function of each entry of the last one before.

    Args:
        flow: the program.
        value: an active value.

    Returns:
        The function of all steps that are functions of each entry alone, `None` if
        there is none.
    """
    steps, source = _pointwise_steps(flow, value)
    return curve(flow, steps, source) if steps else None


def is_gate(flow: Flow, value: Value) -> bool:
    """Whether a value lies between zero and one: by its signs, or by arithmetic.

    Args:
        flow: the program.
        value: an active value.
    """
    shape = last_curve(flow, value)
    return value in flow.gates or (shape is not None and shape.is_gate)


def source_of(flow: Flow, value: Value) -> Value:
    """Returns the value that another is a function of, each entry alone.

    Args:
        flow: the program.
        value: an active value.
    """
    return _pointwise_steps(flow, value)[1]


def _pointwise_steps(flow: Flow, value: Value) -> tuple[set[int], Value]:
    """The steps before a value that change each entry alone, and what they start at."""
    steps: set[int] = set()
    while (at := flow.producer.get(value)) is not None:
        operands = flow.active_inputs(at)
        kind = KINDS.get(flow.program.equations[at].primitive)
        if len(operands) != 1 or kind not in (*POINTWISE, Kind.LAYOUT):
            break
        steps.add(at)
        (value,) = operands
    return steps, value


def _operand(
    flow: Flow, atom: Atom, numbers: dict[Value, int]
) -> int | np.ndarray | None:
    if isinstance(atom, Value) and atom in numbers:
        return numbers[atom]
    if isinstance(atom, Value) and atom in flow.active:
        return None
    return constant_number(flow, atom, _WEIGHT)


def constant_number(
    flow: Flow, atom: Atom, weight: float | None = None
) -> np.ndarray | None:
    """Returns the number that all entries of an inactive value are.

    Args:
        flow: the program.
        atom: a value that does not depend on the explained input, or a literal.
        weight: what stands for each entry of an array that is not known, or whose
            entries differ.

    Returns:
        An array of shape `()`, `None` if its entries differ or are not known.
    """
    if isinstance(atom, Constant):
        return _only_number(np.asarray(atom.value))
    at = flow.producer.get(atom)
    if at is None:
        array = flow.program.constants.get(atom)
        is_known = array is not None and not is_traced(array)
        number = _only_number(np.asarray(array)) if is_known else None
        if number is None and weight is not None and atom.is_inexact:
            return np.asarray(weight, np.float32)
        return number
    equation = flow.program.equations[at]
    if equation.bodies or len(equation.outputs) != 1:
        return None
    operands = [constant_number(flow, v, weight) for v in equation.inputs]
    if any(o is None for o in operands) or not operands:
        return None
    with jax.ensure_compile_time_eval():
        try:
            number = np.asarray(_apply(equation.primitive, equation.params, operands))
        except (TypeError, ValueError):
            return None
    return number if number.shape == () else _only_number(number)  # as of a stack


def _only_number(array: np.ndarray) -> np.ndarray | None:
    if not array.size or np.iscomplexobj(array) or np.any(array != array.flat[0]):
        return None
    number = np.asarray(array.flat[0])
    is_inexact = jnp.issubdtype(number.dtype, jnp.inexact)
    return number.astype(np.float32) if is_inexact else number


def _apply(primitive: Primitive, params: dict[str, Any], operands: Sequence) -> Any:
    kind = KINDS.get(primitive)
    if kind is Kind.LAYOUT:
        return operands[0]
    if primitive is p.convert_element_type_p:
        is_inexact = jnp.issubdtype(params["new_dtype"], jnp.inexact)
        return jnp.asarray(operands[0]).astype(
            np.float32 if is_inexact else params["new_dtype"]
        )
    if kind is Kind.CAST:
        stops = primitive.name == "stop_gradient"
        return jax.lax.stop_gradient(operands[0]) if stops else operands[0]
    (result,) = bind(primitive, list(operands), params)
    return result


def _tabulate(steps: Sequence[_Step]) -> Curve | None:
    def run(x: Any) -> Any:
        results = [x]
        for step in steps:
            operands = [results[o] if isinstance(o, int) else o for o in step.operands]
            arrays = [
                jnp.broadcast_to(jnp.asarray(o), x.shape)
                if jnp.ndim(o) == 0 and step.primitive is not p.clamp_p
                else o
                for o in operands
            ]
            results.append(_apply(step.primitive, step.params, arrays))
        return results[-1].astype(np.float32)

    with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):
        points = jnp.asarray(POINTS)
        try:
            y, slope = jax.jvp(run, (points,), (jnp.ones_like(points),))
        except (TypeError, ValueError, NotImplementedError):
            return None
        y, slope = np.asarray(y), np.asarray(slope)
        with np.errstate(all="ignore"):  # a quotient of infinities has no slope
            secant = np.gradient(y, POINTS)
        return Curve(y, np.where(np.isfinite(slope), slope, secant))
