"""Scores: which number of the output is explained, one for each example.

A score is a function `(outputs, target) -> (batch,)`; `target` is traced, the score
itself is static. Any such function will do; these are the usual ones, for outputs of
shape `(batch, classes)` and integer targets of shape `(batch,)`, or one for the whole
batch. Under `jit` a target out of range cannot be an error: it gives NaN.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import is_traced, nearest, shown
from jaxinterp.tracing.mistakes import binds
from jaxinterp.types import Target

Score = Callable[[Any, Any], Array]

_SINGLE = "The model has a single output: write `score='total'`, which needs no target."


def logit(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    """Returns the output at the target class.

    Args:
        outputs: what the model returns.
        target: class indices, `(batch,)`, or one class for all examples. Under `jit`
            one that is out of range gives NaN, since it cannot be an error there.

    Raises:
        ValueError: if the target is missing, of another shape, or out of range.
        TypeError: if the target is not of integers.

    Example:
        >>> logit(jnp.array([[1.0, 5.0]]), jnp.array([1])).tolist()
        [5.0]
    """
    target = _checked(outputs, target, "logit")
    classes = outputs.shape[1]
    is_class = (target >= 0) & (target < classes)
    index = jnp.clip(target, 0, classes - 1)[:, None]
    value = jnp.take_along_axis(outputs, index, axis=1)[:, 0]
    # Where there is no such class every output has the slope NaN, not the slope 0.
    rest = jnp.where(is_class[:, None], 0, outputs).sum(axis=1)
    return value + rest * jnp.where(is_class, 0, jnp.nan).astype(outputs.dtype)


def probability(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    """Returns the softmax probability of the target class.

    Args:
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    Example:
        >>> probability(jnp.zeros((1, 4)), jnp.array([1])).tolist()
        [0.25]
    """
    _checked(outputs, target, "probability")
    return logit(jax.nn.softmax(outputs, axis=1), target)


def log_probability(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    """Returns the logarithm of the target's softmax probability, in nats.

    Args:
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    Example:
        >>> round(float(log_probability(jnp.zeros((1, 4)), jnp.array([1]))[0]), 4)
        -1.3863
    """
    _checked(outputs, target, "log_probability")
    return logit(jax.nn.log_softmax(outputs, axis=1), target)


def margin(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    """Returns by how much the target exceeds the best other class.

    Args:
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    Example:
        >>> margin(jnp.array([[1.0, 5.0, 3.0]]), jnp.array([1])).tolist()
        [2.0]
    """
    target = _checked(outputs, target, "margin")
    is_target = jnp.arange(outputs.shape[1])[None, :] == target[:, None]
    others = jnp.where(is_target, -jnp.inf, outputs)
    return logit(outputs, target) - others.max(axis=1)


def contrastive(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    """Returns by how much the target exceeds the mean of the other classes.

    Args:
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    References:
        Gu et al., 2018, section 3.2 [gu2018understanding].

    Example:
        >>> contrastive(jnp.array([[1.0, 5.0, 3.0]]), jnp.array([1])).tolist()
        [3.0]
    """
    value = logit(outputs, target)
    return value - (outputs.sum(axis=1) - value) / (outputs.shape[1] - 1)


def total(outputs: Any, target: Any = None) -> Float[Array, " batch"]:
    """Returns the sum of all outputs of an example; it needs no target.

    Args:
        outputs: an array or a pytree of arrays, batch first.
        target: what other scores need; it is not used.

    Raises:
        ValueError: if an output is a scalar.

    Example:
        >>> total(jnp.array([[1.0, 5.0]])).tolist()
        [6.0]
    """
    leaves = jax.tree.leaves(outputs)
    if any(jnp.ndim(leaf) == 0 for leaf in leaves):
        raise ValueError(
            "score=total sums what each example has, and the model returns a scalar "
            f"among {jax.tree.map(jnp.shape, outputs)}.\n"
            "Return one number per example, or pick an output that has the batch:\n"
            "`score=lambda outputs, target: outputs['logits'].sum(axis=1)`."
        )
    sums = [leaf.sum(axis=tuple(range(1, leaf.ndim))) for leaf in leaves]
    return functools.reduce(jnp.add, sums)


SCORES: Mapping[str, Score] = types.MappingProxyType(
    {
        score.__name__: score
        for score in (logit, probability, log_probability, margin, contrastive, total)
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class AtClass:
    """A score at a fixed class, which needs no target.

    Attributes:
        score: a score of outputs `(batch, classes)` at a target.
        values: the function from the outputs to the score of each example.
        logits: the function from the outputs to the logit of that class.
    """

    score: Score
    values: Callable[[Any], Array]
    logits: Callable[[Any], Array]

    @property
    def __name__(self) -> str:
        return f"output(..., score={getattr(self.score, '__name__', self.score)})"

    def __call__(self, outputs: Any, target: Target = None) -> Array:
        """Returns the score of each example; the target is not used."""
        return self.values(outputs)


def as_score(score: Score | str) -> Score:
    """Returns the score that a name means; a function is returned as it is.

    Args:
        score: a function `(outputs, target) -> (batch,)`, or the name of a score of
            this page, such as `"margin"`.

    Raises:
        ValueError: if there is no score of that name.
        TypeError: if it is no function, or one that takes no target.

    Example:
        >>> as_score("total")(jnp.array([[1.0, 5.0]]), None).tolist()
        [6.0]
    """
    if isinstance(score, str):
        if score not in SCORES:
            raise ValueError(
                f"There is no score {score!r}. There are: "
                f"{', '.join(map(repr, SCORES))}.{nearest(score, SCORES)}\nA channel "
                f"inside the model has its number after a colon, '{score}:3', an "
                "output has it alone, ':3'."
            )
        return SCORES[score]
    if not callable(score):
        raise TypeError(
            "`score` must be a function `(outputs, target) -> (batch,)-array`, its "
            f"name or an objective,\nand is {shown(score)}. Write for example "
            "`score='logit'`, or `score='Conv_1:3'` for a channel."
        )
    if binds(score, 1) and not binds(score, 2):
        raise TypeError(
            "`score` is a function of the outputs and the target, and the one that was "
            "given takes one argument.\nWrite `score=lambda outputs, target: ...`, "
            "also if it needs no target."
        )
    return score


def with_note(score: Score) -> Score:
    """Returns a score whose errors get a note that says what it was given.

    Args:
        score: a function `(outputs, target) -> (batch,)`; one of this package, whose
            errors say it themselves, is returned as it is.
    """
    if (getattr(score, "__module__", None) or "").startswith("jaxinterp."):
        return score

    @functools.wraps(score)
    def noted(outputs: Any, target: Target) -> Any:
        try:
            return score(outputs, target)
        except Exception as error:
            shapes = [jax.tree.map(jnp.shape, part) for part in (outputs, target)]
            advice = "" if hasattr(outputs, "ndim") else f"\n{_advice(outputs)}"
            error.add_note(
                f"The score was called with outputs of shape {shapes[0]} and a target "
                f"of shape {shapes[1]}.{advice}"
            )
            raise

    return noted


def check_score(values: Any, batch: int, score: Score) -> None:
    """Raises unless a score gave one number for each example.

    Args:
        values: what the score returned.
        batch: the number of examples.
        score: the function that returned them.

    Raises:
        ValueError: if the shape is another; the message says which.
        TypeError: if the numbers are not real.
    """
    name = getattr(score, "__name__", str(score))
    if jnp.shape(values) != (batch,):
        raise ValueError(
            f"The score {name!r} must return one number per example, shape ({batch},), "
            f"and returned shape {jnp.shape(values)}.\n"
            f"{_reduction(jnp.shape(values), batch)}"
        )
    dtype = jnp.result_type(values)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"The score {name!r} must return real numbers, and returned {dtype}.\n"
            "Explain a real number made of the outputs, for complex ones for example\n"
            "`score=lambda outputs, target: jnp.abs(outputs).sum(axis=1)`."
        )


def _checked(outputs: Any, target: Any, name: str) -> Any:
    if not hasattr(outputs, "ndim") or outputs.ndim != 2:
        raise ValueError(
            f"score={name} needs outputs of shape (batch, classes), and the model "
            f"returns {jax.tree.map(jnp.shape, outputs)}.\n{_advice(outputs)}"
        )
    batch, classes = outputs.shape
    if target is None:
        usual = (
            "Give it as `target=labels` behind the inputs, or write `score='total'` "
            "for the sum of all outputs."
        )
        advice = _SINGLE if classes == 1 else usual
        raise ValueError(
            f"score={name} needs a target: class indices of shape ({batch},), or one "
            f"for all examples.\n{advice}"
        )
    values, target = target, _class_indices(target, name)
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            f"score={name} takes integer class indices as target, and was given "
            f"{target.dtype}{list(target.shape)}.\n{_classes(target, batch, classes)}"
        )
    if target.shape not in ((), (batch,)):
        raise ValueError(
            f"score={name} needs a target of shape ({batch},), one class per example, "
            f"and was given shape {target.shape}.\n"
            f"{_classes(target, batch, classes)}"
        )
    if not is_traced(values):
        wrong = np.asarray(values)
        wrong = wrong[(wrong < 0) | (wrong >= classes)]
        if wrong.size:
            hint = f"\n{_SINGLE}" if classes == 1 else ""
            raise ValueError(
                f"score={name}: target {wrong[0]} is out of range for {classes} "
                f"classes (0 to {classes - 1}).{hint}"
            )
    return jnp.broadcast_to(target, (batch,))


def _class_indices(target: Any, name: str) -> Any:
    """A target as an array; a tracer already while tracing."""
    try:
        return jnp.asarray(target)
    except (TypeError, ValueError):  # words, None among numbers, a dict
        raise TypeError(
            f"score={name} takes integer class indices as target, and was given "
            f"{shown(target)}."
        ) from None


def _classes(target: Any, batch: int, classes: int) -> str:
    """What to write if a target is not one class index for each example."""
    if classes == 1:
        return _SINGLE
    cast = "" if jnp.issubdtype(target.dtype, jnp.integer) else ".astype(int)"
    if target.shape == (batch, classes):
        return "For one-hot targets write `target.argmax(axis=-1)`."
    if target.shape == (batch, 1):
        return f"Leave out the axis behind the examples: `target[:, 0]{cast}`."
    if cast:
        return f"If these are class indices, write `target{cast}`."
    return (
        "For several targets per example put them on the first axis, "
        f"(targets, {batch}), and use `jax.vmap(attribute, in_axes=(None, None, 0))`."
    )


def _reduction(shape: tuple[int, ...], batch: int) -> str:
    """What to write if a score returns another shape than one number per example."""
    if shape[:1] == (batch,):
        return (
            "Pick one of the numbers of each example, or let the score return their "
            f"sum: `.sum(axis={tuple(range(1, len(shape)))})`."
        )
    return (
        "The first axis is that of the examples and has to stay: `score='total'` adds "
        "up all others."
    )


def _advice(outputs: Any) -> str:
    """What to write if the outputs are not `(batch, classes)`."""
    if not hasattr(outputs, "ndim"):
        leaves = jax.tree.leaves_with_path(outputs)
        parts = [(jax.tree_util.keystr(path), jnp.ndim(y)) for path, y in leaves]
        if not any(ndim for _, ndim in parts):
            return "Return an array with one row per example."
        best = min(
            (path for path, ndim in parts if ndim),
            key=lambda path: ("logit" not in path, dict(parts)[path] != 2),
        )
        return (
            "Say which of them is explained: give the method the model "
            f"`lambda variables, inputs: apply_fn(variables, inputs){best}`."
        )
    if outputs.ndim == 0:
        return "Return one number for each example, not one for the whole batch."
    if outputs.ndim == 1:
        return (
            "If that is one number per example, write `score='total'`. If it is one "
            "example, give it a batch axis, `inputs[None]`."
        )
    rest = outputs.shape[1:-1]
    place = (-1,) if len(rest) == 1 else tuple(size // 2 for size in rest)
    indices = ", ".join(map(str, place))
    return (
        "Say which place is meant, of class 0 for example "
        f"`score=jaxinterp.objectives.output(0, position={place})`,\nor of the target "
        "`score=lambda outputs, target: "
        f"outputs[jnp.arange(len(outputs)), {indices}, target]`."
    )
