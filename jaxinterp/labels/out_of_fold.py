"""`out_of_fold`: predictions for each example by a model that never learned it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxinterp.checks import check_function, check_outside, checked_integer, shown
from jaxinterp.keys import check_key, folded
from jaxinterp.types import ApplyFn, Inputs, Key


class OutOfFold(NamedTuple):
    """Held-out predictions.

    Attributes:
        probabilities: those of the model that did not learn from the example,
            `(examples, classes)`.
        folds: the number of the fold of each example.
        variables: the weights of all models, with the folds on a new first axis.
    """

    probabilities: Float[Array, "examples classes"]
    folds: Int[np.ndarray, " examples"]
    variables: Any


def out_of_fold(
    apply_fn: ApplyFn,
    train: Callable[[Key, Any, Any, Any], Any],
    inputs: Inputs,
    labels: Any,
    *,
    key: Key,
    folds: int = 5,
    groups: Any = None,
) -> OutOfFold:
    """Predicts each example by a model that was trained without it.

    A fold is a weighting: 0 for the examples that are held out, 1 for the others. So
    the models have the same shapes, and `jax.vmap` trains all of them as one program.
    `train` must multiply the loss of each example by its weight, and divide by the sum
    of the weights. Held-out examples still pass through the model: batch normalization
    must not see them, so leave it out, or let it use its running statistics.

    Examples of one class are spread over the folds evenly. Near duplicates, such as
    frames of one film, must be in one fold, or they are no test at all: give `groups`.

    Cost: the training of as many models as folds, at once; memory for all of them.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> logits`.
        train: a function `train(key, inputs, labels, weights) -> variables` that JAX
            can transform. All folds get the same key, so that they differ by their data
            alone.
        inputs: the inputs of all examples, arrays with the examples on the first axis.
        labels: the given labels, integers `(examples,)`.
        key: the random key of the folds and the training.
        folds: the number of folds.
        groups: an integer for each example; those of one integer lie in one fold. The
            classes are then not spread evenly.

    Returns:
        A held-out probability of every class for each example.

    Raises:
        FloatingPointError: if a probability is not a number; the message names the
            fold.
        TypeError: if there is no key, `train` is no function, labels or groups are not
            integers, or arrays are traced.
        ValueError: if shapes do not fit, there are fewer examples or groups than folds,
            a class has examples in one fold only, or the model does not return logits.

    Example:
        >>> def train(key, inputs, labels, weights):  # the mean of each class
        ...     is_class = (labels[:, None] == jnp.arange(2)[None]) * weights[:, None]
        ...     return is_class.T @ inputs / is_class.sum(0)[:, None]
        >>> model = lambda means, x: -((x[:, None] - means[None]) ** 2).sum(-1)
        >>> x, y = jnp.array([[0.0], [3.0], [0.2], [3.1]]), jnp.array([0, 1, 0, 1])
        >>> held_out = out_of_fold(model, train, x, y, key=jax.random.key(0), folds=2)
        >>> held_out.probabilities.argmax(axis=1).tolist()
        [0, 1, 0, 1]

    References:
        Stone, 1974 [stone1974cross]; Northcutt et al., 2021 [northcutt2021confident].
    """
    call = "out_of_fold"
    check_key(call, key)
    example = "train(key, inputs, labels, weights) -> variables"
    check_function("train", train, example, call=call)
    check_outside(call, "looks at the labels", inputs, labels, groups)
    folds = checked_integer("folds", folds, 2, call=call)
    labels = _checked_labels(call, "labels", labels)
    sizes = [np.shape(leaf)[:1] for leaf in jax.tree.leaves(inputs)]
    if not sizes or any(size != labels.shape for size in sizes):
        raise ValueError(
            f"{call}: there is one row of inputs for each of the {labels.size} labels, "
            f"and these have {' and '.join(map(str, sizes)) or 'no array'}."
        )
    seed = int(jax.random.randint(folded(key, 0), (), 0, np.iinfo(np.int32).max))
    fold = _folds(call, np.random.default_rng(seed), labels, folds, groups)
    _check_classes(call, labels, fold)
    held_out = jnp.asarray(fold)[None] == jnp.arange(folds)[:, None]
    dtype = jnp.result_type(float)
    weights = jnp.where(held_out, 0, 1).astype(dtype)
    variables = jax.jit(jax.vmap(train, (None, None, None, 0)))(
        folded(key, 1), inputs, labels, weights
    )
    probabilities = jax.jit(lambda *arrays: _probabilities(apply_fn, *arrays))(
        variables, inputs, jnp.asarray(fold)
    )
    wrong = np.asarray(jnp.isnan(probabilities).any(axis=1))
    if wrong.any():
        raise FloatingPointError(
            f"{call}: the model of fold {fold[wrong][0]} gives probabilities that are "
            "not a number. Train with a smaller learning rate; divide by the sum of "
            "all weights, not by that of a part in which all may be zero."
        )
    return OutOfFold(probabilities, fold, variables)


def _probabilities(apply_fn: ApplyFn, variables: Any, inputs: Any, fold: Any) -> Any:
    logits = jax.vmap(apply_fn, (0, None))(variables, inputs)
    if getattr(logits, "ndim", None) != 3 or logits.shape[1] != fold.size:
        shapes = jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], logits)
        raise ValueError(
            f"out_of_fold: the model returns {shapes}, and logits of the shape "
            f"({fold.size}, classes) are needed."
        )
    own = jnp.take_along_axis(logits, fold[None, :, None], axis=0)[0]
    wide = jnp.promote_types(own.dtype, jnp.float32)
    return jax.nn.softmax(own.astype(wide), axis=1)


def _folds(
    call: str, rng: np.random.Generator, labels: np.ndarray, folds: int, groups: Any
) -> np.ndarray:
    """The fold of each example."""
    if groups is None:
        units, classes = np.arange(labels.size), labels
    else:
        of_example = _checked_labels(call, "groups", groups)
        if of_example.shape != labels.shape:
            raise ValueError(
                f"{call}: there is one group for each of the {labels.size} examples, "
                f"and `groups` has {of_example.size}."
            )
        _, units, sizes = np.unique(of_example, return_inverse=True, return_counts=True)
        classes = -sizes  # the largest groups first
    count = units.max(initial=-1) + 1
    if count < folds:
        kind = "examples" if groups is None else "groups"
        raise ValueError(f"{call}: {count} {kind} make no {folds} folds.")
    order = rng.permutation(count)
    order = order[np.argsort(classes[order], kind="stable")]
    if groups is None:  # dealt like cards, class by class
        fold = np.empty(count, np.int32)
        fold[order] = np.arange(count) % folds
        return fold
    fold, filled = np.empty(count, np.int32), np.zeros(folds, int)
    for unit in order:
        fold[unit] = filled.argmin()
        filled[fold[unit]] -= classes[unit]
    return fold[units]


def _check_classes(call: str, labels: np.ndarray, fold: np.ndarray) -> None:
    for label in np.unique(labels):
        if len(np.unique(fold[labels == label])) < 2:
            raise ValueError(
                f"{call}: all {np.sum(labels == label)} examples of class {label} lie "
                "in one fold, and the model of that fold never learns of it. Leave the "
                "class out, or get more examples of it."
            )


def _checked_labels(call: str, name: str, labels: Any) -> np.ndarray:
    array = np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{call}: `{name}` are integers, and are {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(
            f"{call}: `{name}` have the shape (examples,), and have "
            f"{shown(array.shape)}."
        )
    return array
