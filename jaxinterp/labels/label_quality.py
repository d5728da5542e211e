r"""How much a model believes a given label: one number in [0, 1] for each example.

$p_{ij}$ is the probability that the model gives to class $j$ for example $i$, and
$s_i$ the given label. The model must not have been trained on the example, see
`out_of_fold`: a network that has learned its training labels by heart believes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import check_choice, check_outside, is_traced, shown
from jaxinterp.loop.ranking import Ranking, ranked
from jaxinterp.loop.stream import everywhere
from jaxinterp.tracing.mistakes import call_model
from jaxinterp.types import ApplyFn, Variables

Quality = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]

# Probabilities of half precision, or rounded to three digits, add up to 1 within this.
SLACK = 0.01


def label_quality(
    labels: Any, probabilities: Any, score: Quality = "self_confidence"
) -> Float[Array, " examples"]:
    r"""Scores how likely each label is to be right; low is suspicious.

    - `"self_confidence"`: $p_{i s_i}$.
    - `"normalized_margin"`: $\frac12 (p_{i s_i} - \max_{j \ne s_i} p_{ij} + 1)$.
    - `"confidence_weighted_entropy"`: $\log(1 + u) / u$ with
      $u = \frac{H(p_i)}{\log K} \frac{1}{p_{i s_i}}$ for $K$ classes, and 1 at $u = 0$.

    The order of scores is a ranking and no probability: a hard example with a right
    label scores low, too.

    Args:
        labels: the given labels, integers `(examples,)`.
        probabilities: held-out probabilities, `(examples, classes)`.
        score: which of the three.

    Returns:
        One score in [0, 1] for each example, in single precision at least.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not fit, a label is out of range, or probabilities do
            not add up to 1; under `jit` only shapes are checked.

    Example:
        >>> probabilities = jnp.array([[0.75, 0.25], [0.75, 0.25]])
        >>> label_quality(jnp.array([0, 1]), probabilities).tolist()
        [0.75, 0.25]
        >>> label_quality(
        ...     jnp.array([0, 1]), probabilities, "normalized_margin").tolist()
        [0.75, 0.25]

    References:
        Northcutt et al., 2021 [northcutt2021confident]; Kuan and Mueller, 2022
        [kuan2022model].
    """
    check_choice("score", score, get_args(Quality), call="label_quality")
    check_labels("label_quality", labels, probabilities)
    p = jnp.asarray(probabilities)
    p = p.astype(jnp.promote_types(p.dtype, jnp.float32))
    index = jnp.asarray(labels)[:, None]
    own = jnp.take_along_axis(p, index, axis=1)[:, 0]
    if score == "self_confidence":
        return own
    n_classes = p.shape[1]
    if score == "normalized_margin":
        is_given = jnp.arange(n_classes)[None] == index
        other = jnp.where(is_given, 0, p).max(axis=1)
        return (own - other + 1) / 2
    terms = jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0)
    entropy = -terms.sum(axis=1) / float(np.log(max(n_classes, 2)))
    u = entropy / jnp.where(own > 0, own, 1)
    is_sure, is_denied = u <= 0, (own <= 0) & (entropy >= 0)
    value = jnp.log1p(u) / jnp.where(is_sure, 1, u)
    return jnp.where(is_denied, 0, jnp.where(is_sure, 1, value))


def suspicious_labels(
    apply_fn: ApplyFn,
    variables: Variables,
    batches: Iterable[Any],
    *,
    score: Quality = "self_confidence",
    k: int = 100,
    resume: Ranking | None = None,
    progress: bool = True,
) -> Ranking:
    """Finds the examples of a stream whose labels a model believes least.

    For data that the model was not trained on, such as a test set: of training data
    take `out_of_fold` and `find_label_issues`. Which of the examples are errors it does
    not say; somebody has to look at them.

    Cost: one forward pass for each example. Memory for one batch and `k` examples.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> logits`.
        variables: the weights of the model.
        batches: pairs `(inputs, labels)` of arrays with the examples on the first axis.
        score: how a label is scored, as in `label_quality`.
        k: the number of examples that are kept.
        resume: the result for the examples before, from the same arguments, of which
            the weights cannot be checked.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        The examples with the lowest scores, the lowest first, in `lowest`, and those
        with the highest in `highest`, one row of each.

    Raises:
        FloatingPointError: if a score is not a number; the message names the example.
        TypeError: if a batch is no pair of arrays.
        ValueError: if a hyperparameter is out of range, the model does not return one
            row of logits for each example, there is no example, or `resume` is of
            another call.

    Example:
        >>> logits, labels = jnp.array([[2.0, 0.0], [0.0, 2.0]]), jnp.array([0, 0])
        >>> ranking = suspicious_labels(lambda w, x: x, None, [(logits, labels)], k=1)
        >>> ranking.lowest.indices.tolist()
        [[1]]

    References:
        Northcutt et al., 2021 [northcutt2021confident].
    """
    call = "suspicious_labels"
    check_choice("score", score, get_args(Quality), call=call)
    check_outside(call, "reads a stream on the host", variables)

    def quality(variables: Any, inputs: Any, labels: Any) -> Any:
        logits = call_model(apply_fn, variables, inputs)
        if getattr(logits, "ndim", None) != 2:
            raise ValueError(
                f"{call}: the model returns {jax.tree.map(jnp.shape, logits)}, and "
                "logits of the "
                "shape (batch, classes) are needed."
            )
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        scores = label_quality(labels, jax.nn.softmax(logits, axis=1), score)
        is_class = (labels >= 0) & (labels < logits.shape[1])
        return jnp.where(is_class, scores, jnp.nan)[None]

    def start(batch: Any) -> tuple[Any, int, Any]:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"{call}() takes examples as pairs, `(inputs, labels)`, and was given "
                f"{shown(batch)}."
            )
        compute = jax.jit(quality, out_shardings=everywhere(batch))
        dtype = jax.eval_shape(compute, variables, *batch).dtype
        return lambda batch: compute(variables, *batch), 1, dtype

    return ranked(
        *(call, batches, start),
        k=k,
        description=f"suspicious_labels by {score}",
        constants=variables,
        resume=resume,
        name=call if progress else "",
    )


def check_labels(call: str, labels: Any, probabilities: Any) -> None:
    """Raises unless there is one label and one row of probabilities for each example.

    Args:
        call: the name of the function that was called.
        labels: the given labels.
        probabilities: the probabilities of the classes.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not fit, there is no example or class, a label is out
            of range, or probabilities are negative or do not add up to 1.
    """
    kind = getattr(labels, "dtype", None) or np.asarray(labels).dtype
    if not jnp.issubdtype(kind, jnp.integer):
        raise TypeError(
            f"{call}: labels are integers, and are {kind}. Write `labels.astype(int)`, "
            "or of one-hot rows `labels.argmax(axis=1)`."
        )
    shapes = np.shape(labels), np.shape(probabilities)
    if len(shapes[0]) != 1 or shapes[1][:1] != shapes[0] or len(shapes[1]) != 2:
        raise ValueError(
            f"{call}: labels have the shape (examples,) and probabilities the shape "
            f"(examples, classes), and these have {shapes[0]} and {shapes[1]}."
        )
    if is_traced(labels, probabilities) or not shapes[0][0]:
        return
    classes, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    if classes.min() < 0 or classes.max() >= p.shape[1]:
        raise ValueError(
            f"{call}: labels run from 0 to {p.shape[1] - 1}, and these from "
            f"{classes.min()} to {classes.max()}."
        )
    wrong = np.flatnonzero((p < 0).any(axis=1) | ~(abs(p.sum(axis=1) - 1) <= SLACK))
    if wrong.size:
        raise ValueError(
            f"{call}: the probabilities of example {wrong[0]} add up to "
            f"{p[wrong[0]].sum():.4g}, with a smallest of {p[wrong[0]].min():.4g}. Of "
            "logits write `jax.nn.softmax(logits, axis=1)`."
        )
