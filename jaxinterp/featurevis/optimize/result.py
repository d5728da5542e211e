"""What `maximize` returns, and how a later call goes on from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.types import Images


class Result(NamedTuple):
    r"""The images that `maximize` made.

    Images are in the order of the units; with `count` images for each unit, the first
    `count` are the first unit's.

    Attributes:
        images: the images, `(units * count, ...)`, in [0, 1].
        history: the objective at each step, before the step is taken and under its
            transforms, `(steps, units * count)`.
        snapshots: a dictionary from a number of steps to the images after these steps.
        importance: how much the objective depends on each place of an image,
            $\sum_t \sum_c |\partial s / \partial x_c|$ over the steps $t$ and the
            channels $c$: `(units * count, ...)` without the axis of the channels;
            `faded` shows it. Penalties depend on images, too.
        params: the parameters of the parametrization, with the units in front.
        optimizer_state: the states of the optimizers, with the units in front.
    """

    images: Images
    history: Any
    snapshots: dict[int, Images]
    importance: Any
    params: Any
    optimizer_state: Any


class State(NamedTuple):
    """What a step changes: arrays with the units in front.

    Attributes:
        params: the parameters of the parametrization.
        optimizer_state: the state of each unit's optimizer.
        importance: the absolute derivatives of the score at each place of each image,
            summed over channels and steps, `(units, count, ...)`.
    """

    params: Any
    optimizer_state: Any
    importance: Any


def joined(result: Result, earlier: Result | None) -> Result:
    """Returns the result of all units in one row, with the steps that came before.

    Args:
        result: a result whose arrays are `(units, count, ...)`, and whose history is
            `(units, steps, count)`.
        earlier: the result that was resumed; `None` if none was.

    Raises:
        FloatingPointError: if the scores, or the images after the last step, are NaN
            for all images; if some are, there is a warning.
    """
    arrays = (result.images, result.snapshots, result.importance)
    earlier_history = None if earlier is None else earlier.history
    rows, history = _in_one_row(arrays, result.history, earlier_history)
    images, snapshots, importance = rows
    if earlier is not None:
        snapshots = {**earlier.snapshots, **snapshots}
    _check_finite(history, images)
    rest = (result.params, result.optimizer_state)
    return Result(images, history, snapshots, importance, *rest)


@jax.jit
def _in_one_row(arrays: Any, history: Any, earlier_history: Any) -> tuple[Any, Any]:
    """Arrays with the images of all units on one axis, and the history of all steps."""
    n_units, steps, count = history.shape
    rows = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), arrays)
    history = jnp.moveaxis(history, 1, 0).reshape(steps, n_units * count)
    if earlier_history is not None:
        history = jnp.concatenate([earlier_history, history])
    return rows, history


def steps_taken(resume: Any, steps: int, snapshots: Sequence[int]) -> int:
    """Returns how many steps an earlier result has taken; 0 if there is none.

    Args:
        resume: the earlier result, or `None`.
        steps: the number of all steps, those of the earlier result included.
        snapshots: the numbers of steps after which the images are kept.

    Raises:
        TypeError: if it is no `Result`.
        ValueError: if the result has taken more steps, or lacks a snapshot.
    """
    if resume is None:
        return 0
    if not isinstance(resume, Result):
        raise TypeError(
            f"maximize: `resume` is an earlier `Result`, and is {type(resume)}."
        )
    n_steps = resume.history.shape[0]
    if n_steps > steps:
        raise ValueError(
            f"maximize: the result to resume has taken {n_steps} steps, and "
            f"`steps={steps}` counts them too. Write more."
        )
    missing = [n for n in snapshots if n < n_steps and n not in resume.snapshots]
    if missing:
        raise ValueError(
            f"maximize: the result to resume has taken {n_steps} steps and kept no "
            f"images after {missing[0]} of them. Leave that snapshot out."
        )
    return n_steps


def resumed_state(resume: Result | None, first: State, count: int) -> State | None:
    """Returns the state that an earlier result ended in; `None` if there is none.

    Args:
        resume: the earlier result, or `None`.
        first: the shapes of the state that a call from the beginning starts from.
        count: the number of images of each unit.

    Raises:
        ValueError: if the result is of a call with other units or another optimizer.
    """
    if resume is None:
        return None
    state, importance = None, resume.importance
    if not len(importance) % count:
        importance = importance.reshape(-1, count, *importance.shape[1:])
        state = State(resume.params, resume.optimizer_state, importance)

    def description(state: Any) -> Any:
        leaves, tree = jax.tree.flatten(state)
        return tree, [(leaf.shape, leaf.dtype) for leaf in leaves]

    if description(state) != description(first):
        raise ValueError(
            "maximize: the result to resume is of a call with another parametrization, "
            "another optimizer, or another number of units or images.\nGive the same "
            "arguments; only `steps` may be larger."
        )
    return state


def _check_finite(history: Any, images: Images) -> None:
    """Raises if the scores of all images are NaN, and warns if those of some are.

    Of the last step there is no score: there the images themselves are checked.
    """
    if is_traced(history):
        return
    steps, columns = np.nonzero(np.isnan(np.asarray(history, np.float32)))
    if not steps.size:
        is_bad = np.isnan(np.asarray(images)).any(tuple(range(1, images.ndim)))
        if is_bad.any():
            raise FloatingPointError(
                f"The last step made {int(is_bad.sum())} images NaN, the first being "
                f"{int(is_bad.argmax())}. Look for a root or a logarithm of zero in "
                "the model or the objective."
            )
        return
    n_bad = len(set(columns))
    advice = (
        "Try a lower learning rate, `optimizer=optax.adam(0.01)`, or look for a root "
        "or a logarithm of zero in the model or the objective."
    )
    if not steps.min():
        advice = (
            "The first image has no score: look for a root or a logarithm of what is "
            "negative, or a quotient of zeros, in model, objective and transforms."
        )
    message = (
        f"The objective became NaN at step {steps.min()}, for image "
        f"{columns[steps.argmin()]} (and {n_bad - 1} others of {history.shape[1]}).\n"
        f"{advice}"
    )
    if n_bad == history.shape[1]:
        raise FloatingPointError(message)
    warnings.warn(f"{message}\nThe others are in order.", stacklevel=4)
