"""Objectives of the outputs of a model: logits and probabilities.

Notation: $y_k$ is the output for class $k$. For outputs with more axes, such as those
of a language model, `(tokens, classes)`, a position says where, as for activations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.objectives.score import Score, as_score, logit
from jaxinterp.pytree import pytree, static

# The path into a pytree of outputs: one step, or several.
Head = str | int | tuple[str | int, ...] | None


@pytree
class Output(Objective):
    """A score of the outputs, at a class.

    Attributes:
        score: the function from outputs `(batch, classes)` and classes to the scores.
        head: the steps to the array of logits in the outputs.
        index: classes, `(units,)`, or `None` for all that there are.
        position: arrays `(units,)`, `None` for all of an axis or for everything.
    """

    score: Score = static()
    head: tuple[str | int, ...] = static()
    index: Any
    position: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with all classes filled in."""
        shape = step_into(shapes.outputs, self.head)
        name = f"output {'/'.join(map(str, self.head))}" if self.head else "the output"
        if not (isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)):
            raise ValueError(
                f"{name} is not one array: {shape!r}.\n"
                "Say which array is meant: `output(3, head='logits')`, or "
                "`head=('aux', 0)` further inside."
            )
        shape = shape or (1,)  # one number for each image is the output 0
        index = positions.bound_index(self.index, shape, name)
        position = positions.bound_position(self.position, shape, name)
        return dataclasses.replace(self, index=index, position=position)

    def __call__(self, view: View) -> Any:
        """Returns the score of the class for each image."""
        y = step_into(view.outputs, self.head)
        y = positions.at_position(y[:, None] if y.ndim == 1 else y, self.position)
        rows = y.reshape(-1, y.shape[-1])
        scores = self.score(rows, jnp.broadcast_to(self.index, rows.shape[:1]))
        return positions.mean_of_places(scores.reshape(y.shape[:-1]), n_last=0)


def output(
    index: Any = None,
    *,
    score: Score | str = logit,
    head: Head = None,
    position: Sequence[Any] | None = None,
) -> Objective:
    r"""Looks for what a class looks like to the model: a score of the outputs at it.

    The score is the logit $y_k$ by default. `score=log_probability` looks for what
    tells the class from the others; so does `score=probability`, whose derivative
    vanishes far from the class.

    Args:
        index: the class $k$; several are several units, `None` is every class. Of a
            model that returns one number for each image that number is 0.
        score: the score of the outputs, a function `(outputs, target) -> (batch,)`
            such as `logit`, `log_probability` or `margin`, or its name.
        head: the place of the logits, if the outputs are a pytree of arrays: a key, an
            index or the name of a field, or a tuple of these.
        position: the place, if the outputs are more than a number for each class: an
            entry for each further axis, an integer or `None` for the mean over it; by
            default the mean over all.

    Returns:
        An objective, in the units of the score.

    Raises:
        TypeError: if the index or the position is not of integers, or the score is no
            function.

    Example:
        >>> every_class = output()
        >>> last_token = output(42, head="logits", position=(-1,))

    References:
        Simonyan et al., 2014, eq. 1 [simonyan2013deep].
    """
    call = "output(3), output(jnp.arange(10), position=(-1,))"
    steps = () if head is None else head if isinstance(head, tuple) else (head,)
    return Output(
        as_score(score),
        head=steps,
        index=positions.as_index(index, call),
        position=positions.as_position(position, call),
    )


def step_into(outputs: Any, head: tuple[str | int, ...]) -> Any:
    """Returns what is inside a pytree of outputs.

    Args:
        outputs: what a model returns, or the shapes of that.
        head: the steps into it: keys, indices or names of fields.

    Raises:
        ValueError: if a step leads nowhere.
    """
    inside = outputs
    for step in head:
        try:
            if isinstance(step, str) and not isinstance(inside, Mapping):
                inside = getattr(inside, step)
            else:
                inside = inside[step]
        except (AttributeError, LookupError, TypeError):
            raise ValueError(
                f"The outputs have no {step!r} (head={head}): "
                f"{type(inside).__name__} {_keys(inside)}."
            ) from None
    return inside


def _keys(inside: Any) -> str:
    if isinstance(inside, Mapping):
        return f"with the keys {sorted(map(str, inside))}"
    if hasattr(inside, "_fields"):
        return f"with the fields {list(inside._fields)}"
    return f"of length {len(inside)}" if hasattr(inside, "__len__") else ""
