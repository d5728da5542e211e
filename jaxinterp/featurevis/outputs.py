r"""Objectives of the outputs of a model: logits and probabilities.

Notation: $y_k$ is the output for class $k$. For outputs with more axes, such as those
of a language model, `(tokens, classes)`, a position says where, as for activations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from jaxinterp.featurevis import places
from jaxinterp.featurevis.objective import Objective, Shapes, View

# One step into a pytree of outputs, or several.
Head = str | int | tuple[str | int, ...] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Output(Objective):
    """A function of the outputs, at a class.

    Attributes:
        function: of the outputs, over the last axis.
        head: the steps to the array of logits in the outputs.
        index: classes, `(units,)`, or `None` for all that there are.
        position: arrays `(units,)`, `None` for all of an axis or for everything.
    """

    function: Callable[[Any], Any] = dataclasses.field(metadata={"static": True})
    head: tuple[str | int, ...] = dataclasses.field(metadata={"static": True})
    index: Any
    position: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with all classes filled in."""
        shape = _step_into(shapes.outputs, self.head)
        name = f"output {'/'.join(map(str, self.head))}" if self.head else "the output"
        if not (isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)):
            raise ValueError(
                f"{name} is not one array: {shape!r}.\n"
                "Say which array is meant: `logit(3, head='logits')`, or "
                "`head=('aux', 0)` further inside."
            )
        index = places.bound_index(self.index, shape, name)
        position = places.bound_position(self.position, shape, name)
        return dataclasses.replace(self, index=index, position=position)

    def __call__(self, view: View) -> Any:
        """Returns the number of the class for each picture."""
        y = places.at_position(_step_into(view.outputs, self.head), self.position)
        scores = places.mean_of_places(self.function(y), kept=1)
        return places.pick(scores, self.index, axis=1)


def logit(
    index: Any = None, *, head: Head = None, position: Sequence[Any] | None = None
) -> Objective:
    """Looks for what a class looks like to the model, $y_k$.

    Args:
        index: the class $k$; several are several units, `None` is every class.
        head: where the logits are, if the outputs are a pytree of arrays: a key, an
            index or the name of a field, or a tuple of these.
        position: where, if the outputs are more than a number for each class: an entry
            for each further axis, an integer or `None` for the mean over it; by default
            the mean over all.

    Returns:
        An objective, in logits.

    Raises:
        TypeError: if the index or the position is not of integers.

    Example:
        >>> every_class = logit()
        >>> last_token = logit(42, head="logits", position=(-1,))

    References:
        Simonyan et al., 2014, eq. 1 [simonyan2013deep].
    """
    return _output(_identity, index, head, position, "logit")


def probability(
    index: Any = None, *, head: Head = None, position: Sequence[Any] | None = None
) -> Objective:
    r"""Looks for what tells a class from the others, $p_k = e^{y_k} / \sum_j e^{y_j}$.

    Far from the class its derivative vanishes: `log_probability` starts better.

    Args:
        index: the class $k$; several are several units, `None` is every class.
        head: where the logits are, as in `logit`.
        position: where, as in `logit`.

    Returns:
        An objective, between 0 and 1.

    Raises:
        TypeError: if the index or the position is not of integers.

    Example:
        >>> likely = probability(7)
    """
    return _output(jax.nn.softmax, index, head, position, "probability")


def log_probability(
    index: Any = None, *, head: Head = None, position: Sequence[Any] | None = None
) -> Objective:
    r"""Looks for what tells a class from the others, $\log p_k$.

    Args:
        index: the class $k$; several are several units, `None` is every class.
        head: where the logits are, as in `logit`.
        position: where, as in `logit`.

    Returns:
        An objective, in nats, at most 0.

    Raises:
        TypeError: if the index or the position is not of integers.

    Example:
        >>> likely = log_probability([7, 8])
    """
    return _output(jax.nn.log_softmax, index, head, position, "log_probability")


def _identity(y: Any) -> Any:
    return y


def _output(
    function: Callable[[Any], Any],
    index: Any,
    head: Head,
    position: Sequence[Any] | None,
    name: str,
) -> Objective:
    call = f"{name}(3), {name}(jnp.arange(10), position=(-1,))"
    steps = () if head is None else head if isinstance(head, tuple) else (head,)
    return Output(
        function,
        head=steps,
        index=places.as_index(index, call),
        position=places.as_position(position, call),
    )


def _step_into(outputs: Any, head: tuple[str | int, ...]) -> Any:
    """Returns what is inside a pytree of outputs.

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
