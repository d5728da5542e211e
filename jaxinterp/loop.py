"""How a long loop over model gradients runs: the one place that decides.

On CPU, XLA runs the gradient of a convolution inside `scan` several times slower than
outside (jax-ml/jax#12868). So a loop of few iterations is unrolled; a long one is a
host loop over one jitted step when called eagerly on CPU, and `lax.scan` on
accelerators and under an outer `jit`. What is computed does not depend on the choice.
"""

from __future__ import annotations

import dataclasses
import enum
import numbers
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from tqdm import tqdm

# Up to so many iterations are written out; the program grows with them.
UNROLLED = 8
# So many bytes of activations are computed at once on CPU.
CACHED = 16_000_000
# From so many iterations on, a host loop shows its progress.
SHOWN = 20

Step = Callable[[Any, Any], Any]
# From what is static, what is fixed, a state and the number of the step to the next
# state and a record of the step.
Iteration = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def summed(
    step: Step, *, batch_size: int | None = None, name: str = ""
) -> Callable[[Any, Any], Any]:
    """Returns a function that sums a step over many points.

    Args:
        step: `step(context, point) -> pytree of arrays`, for one point.
        batch_size: how many points to evaluate at once; all of them by default. Memory
            grows with it and not with the number of points.
        name: what the progress bar says.

    Returns:
        `sum_over(context, points)`, where the leaves of `points` have one more axis in
        front; it returns the sum of the steps.

    Raises:
        ValueError: if `batch_size` is not positive.

    Example:
        >>> squares = summed(lambda scale, x: scale * x**2, batch_size=2)
        >>> float(squares(2.0, jnp.array([1.0, 2.0, 3.0])))
        28.0
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, and is {batch_size}.")

    def part(fixed: _Fixed, arrays: list[Any], chunk: Any, valid: Any) -> Any:
        context = fixed.filled(arrays)
        values = jax.vmap(lambda point: step(context, point))(chunk)

        return jax.tree.map(lambda leaf: _added(leaf, valid), values)

    jitted_part = jax.jit(part, static_argnums=0)

    def scanned(fixed: _Fixed, arrays: list[Any], chunks: Any, valid: Any) -> Any:
        def one(chunk: Any, valid: Any) -> Any:
            return part(fixed, arrays, chunk, valid)

        first = jax.eval_shape(
            one, *jax.tree.map(lambda leaf: leaf[0], (chunks, valid))
        )
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), first)

        def body(total: Any, chunk: Any) -> Any:
            return jax.tree.map(jnp.add, total, one(*chunk)), None

        return lax.scan(body, zeros, (chunks, valid))[0]

    jitted_scan = jax.jit(scanned, static_argnums=0)

    def sum_over(context: Any, points: Any) -> Any:
        count = jax.tree.leaves(points)[0].shape[0]
        size = min(batch_size or count, count)
        chunks, valid = _chunks(points, count, size)
        number, is_inner = valid.shape[0], is_traced(context, points)
        fixed, arrays = _divided(context)
        is_jitted = fixed.is_constant and not is_inner
        run = jitted_part if is_jitted else part
        if number <= UNROLLED:
            return _narrow(_host_loop(run, fixed, arrays, chunks, valid, ""))
        if is_inner or jax.default_backend() != "cpu":
            run = jitted_scan if is_jitted else scanned
            return _narrow(run(fixed, arrays, chunks, valid))
        return _narrow(_host_loop(run, fixed, arrays, chunks, valid, name))

    return sum_over


def iterate(
    step: Iteration,
    static: Any,
    fixed: Any,
    state: Any,
    numbers: range,
    *,
    tick: Callable[[int], Any] = lambda done: None,
) -> tuple[Any, Any]:
    """Carries a state through many steps.

    The step is compiled once for all calls with the same `step` and `static`, and
    arrays of the same shapes.

    Args:
        step: `step(static, fixed, state, number) -> (state, record)`.
        static: anything that can be hashed.
        fixed: arrays that all steps read.
        state: arrays; their memory is reused when called eagerly.
        numbers: of the steps, counted one by one.
        tick: is told how many steps have been done since it was last called.

    Returns:
        The last state, and the records of all steps, stacked on a new first axis.

    Example:
        >>> def step(factor, fixed, state, number):
        ...     return factor * state + number, state
        >>> state, records = iterate(step, 2, None, jnp.array(1), range(3))
        >>> int(state), records.tolist()
        (12, [1, 2, 5])
    """
    if not numbers:
        number = jax.ShapeDtypeStruct((), jnp.arange(0).dtype)
        row = _jitted_step.eval_shape(step, static, fixed, state, number)[1]
        return state, jax.tree.map(lambda r: jnp.zeros((0, *r.shape), r.dtype), row)
    if is_traced(fixed, state):
        return _all_steps(
            step, static, fixed, state, jnp.arange(numbers.start, numbers.stop)
        )
    if jax.default_backend() != "cpu":
        numbers_array = jnp.arange(numbers.start, numbers.stop)
        state, records = _jitted_steps(step, static, fixed, state, numbers_array)
        tick(len(numbers))
        return state, records
    rows = []
    for number in numbers:
        state, row = _jitted_step(step, static, fixed, state, jnp.asarray(number))
        rows.append(row)
        tick(1)
    return state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def at_once(bytes_each: int) -> int | None:
    """Returns how many examples to compute at once, if nobody says how many.

    On CPU few are faster than many as long as their activations stay in its caches;
    of examples that do not even fit alone, a few share the reading of the weights.

    Args:
        bytes_each: the size of the activations of one example.

    Returns:
        A number; `None` for all, on accelerators.

    Example:
        >>> at_once(6_000_000) if jax.default_backend() == "cpu" else 3
        3
    """
    if jax.default_backend() != "cpu":
        return None
    if bytes_each > CACHED:
        return 4
    return max(2, -(-CACHED // max(bytes_each, 1)))


def progress(total: int, name: str, *, is_shown: bool = True) -> tqdm:
    """Returns a progress bar, to be used in a `with` statement.

    Args:
        total: how many steps there are; few are not worth a bar.
        name: what it says.
        is_shown: whether it is wanted at all.
    """
    return tqdm(total=total, desc=name, disable=not is_shown or total < SHOWN)


def is_traced(*trees: Any) -> bool:
    """Whether any array is a tracer: whether there is a transformation around.

    Args:
        *trees: pytrees of arrays.
    """
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


class _Sum(NamedTuple):
    """A sum in single precision at least, lest it depend on how it was cut.

    Attributes:
        total: of the summands.
        like: an empty array of their dtype; `None` if they are no floats.
    """

    total: Any
    like: Any


def _added(leaf: Any, valid: Any) -> _Sum:
    """Adds up along the first axis what is valid."""
    real = jnp.where(valid.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)
    if not jnp.issubdtype(real.dtype, jnp.inexact):
        return _Sum(real.sum(axis=0), None)
    wide = jnp.promote_types(real.dtype, jnp.float32)
    return _Sum(real.astype(wide).sum(axis=0), jnp.zeros(0, real.dtype))


def _narrow(sums: Any) -> Any:
    """Returns sums in the dtype of what was added up."""
    return jax.tree.map(
        lambda s: s.total if s.like is None else s.total.astype(s.like.dtype),
        sums,
        is_leaf=lambda node: isinstance(node, _Sum),
    )


def _all_steps(
    step: Iteration, static: Any, fixed: Any, state: Any, numbers: Any
) -> tuple[Any, Any]:
    return lax.scan(lambda s, number: step(static, fixed, s, number), state, numbers)


_jitted_steps = jax.jit(_all_steps, static_argnums=(0, 1), donate_argnums=3)


def _one_step(
    step: Iteration, static: Any, fixed: Any, state: Any, number: Any
) -> tuple[Any, Any]:
    return step(static, fixed, state, number)


_jitted_step = jax.jit(_one_step, static_argnums=(0, 1), donate_argnums=3)


def _chunks(points: Any, count: int, size: int) -> tuple[Any, Any]:
    """Splits points into equal chunks, the last filled up with its first points."""
    number = -(-count // size)
    index = jnp.arange(number * size)
    valid = (index < count).reshape(number, size)
    if number * size == count:
        return jax.tree.map(
            lambda leaf: leaf.reshape((number, size, *leaf.shape[1:])), points
        ), valid
    index = jnp.where(index < count, index, 0)
    chunks = jax.tree.map(
        lambda leaf: leaf[index].reshape((number, size, *leaf.shape[1:])), points
    )
    return chunks, valid


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """The part of a context that is not arrays, such as `"mode": "linear"`: static."""

    tree: Any
    leaves: tuple[Any, ...]

    @property
    def is_constant(self) -> bool:
        """Whether equal ones hold the same: numbers, strings and functions do.

        An object that JAX does not know to hold arrays may hold others at each call,
        and what is compiled for it once must not be taken for it later.
        """
        return all(isinstance(leaf, _CONSTANT) for leaf in self.leaves)

    def filled(self, arrays: list[Any]) -> Any:
        """Returns the context with arrays in their places."""
        rest = iter(arrays)
        leaves = [next(rest) if leaf is _ARRAY else leaf for leaf in self.leaves]
        return self.tree.unflatten(leaves)


_ARRAY = "an array belongs here"
_CONSTANT = (
    *(str, bytes, numbers.Number, enum.Enum, np.dtype, type),
    *(types.FunctionType, types.BuiltinFunctionType, jax.stages.Wrapped),
    *(jax.custom_jvp, jax.custom_vjp),
)


def _divided(context: Any) -> tuple[_Fixed, list[Any]]:
    leaves, tree = jax.tree.flatten(context)
    is_array = [
        isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves
    ]
    pairs = list(zip(leaves, is_array, strict=True))
    fixed = tuple(_ARRAY if is_one else leaf for leaf, is_one in pairs)
    return _Fixed(tree, fixed), [leaf for leaf, is_one in pairs if is_one]


def _host_loop(
    run: Any, fixed: _Fixed, arrays: list[Any], chunks: Any, valid: Any, name: str
) -> Any:
    total = None
    number = valid.shape[0]
    steps = tqdm(range(number), desc=name, disable=not name or number < SHOWN)
    for i in steps:
        chunk = jax.tree.map(lambda leaf, i=i: leaf[i], chunks)
        value = run(fixed, arrays, chunk, valid[i])
        total = value if total is None else jax.tree.map(jnp.add, total, value)
    return total
