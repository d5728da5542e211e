r"""Concept activation vectors: the direction of a concept among activations.

$a \in \mathbb R^d$ is an activation, $t$ says whether its input shows the concept, and
the unit vector $v$ points towards the concept. Both classes weigh the same, however
many examples they have.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice, checked_real
from jaxinterp.fit.linear import Linear, logistic, ridge

# How the direction is fitted.
Method = Literal["pattern", "ridge", "logistic"]

_FOLDS = 5


class ConceptVector(NamedTuple):
    """The direction of a concept, and how well it tells examples apart.

    Attributes:
        direction: $v$, a unit vector in the shape of an activation that points towards
            the concept.
        threshold: the value of $a^T v$ between the classes.
        accuracy: the mean over both classes of the share that is on its side of the
            threshold, of examples on which it was not fitted; chance is 0.5. In five
            folds, of every fifth example each. NaN where a fit has no direction.
    """

    direction: Any
    threshold: Any
    accuracy: Any


def concept_vector(
    positives: Any, negatives: Any, *, method: Method = "pattern", penalty: float = 1.0
) -> ConceptVector:
    r"""Fits the direction of a concept to activations with it and without it.

    | method | $v$ is proportional to |
    |---|---|
    | `"pattern"` | $\mathrm{cov}(a, t) / \mathrm{var}(t) = \bar a_+ - \bar a_-$ |
    | `"ridge"` | the coefficients of a ridge regression of $t = \pm 1$ on $a$ |
    | `"logistic"` | those of a logistic regression with the same penalty |

    A classifier is a filter: it subtracts what distracts, so that its direction need
    not be that in which the concept changes activations. The pattern is this direction,
    but no good classifier where distractors are strong. So take the pattern to move
    activations or for a sensitivity, and the accuracy of `"logistic"` to learn whether
    the concept is there at all.

    Activations of a layer with positions know the position, too: take their mean over
    positions first, unless that is wanted. Cost: six fits; it can be jitted, and
    `jax.vmap` fits many sets of negatives at once.

    Args:
        positives: activations of examples that show the concept, `(n, ...)`.
        negatives: activations of examples that do not, `(m, ...)`.
        method: how the direction is fitted.
        penalty: the penalty on the coefficients of the two regressions, in units of the
            squared activations; not used by the pattern.

    Returns:
        The direction, in single precision at least; NaN if both classes have the same
        mean.

    Raises:
        ValueError: if there is no such method, activations of both differ in shape or
            have no axis but that of examples, there are fewer than two of each, or the
            penalty is negative, or 0 for the logistic regression.

    References:
        Kim et al., 2018 [kim2018interpretability] (classifiers); Haufe et al., 2014
        [haufe2014interpretation], and Pahde et al., 2025 [pahde2025navigating]
        (patterns).

    Example:
        >>> noise = jax.random.normal(jax.random.key(0), (200, 3))
        >>> shifted = noise[:100] + jnp.array([[9.0, 0.0, 0.0]])
        >>> concept = concept_vector(shifted, noise[100:])
        >>> float(concept.direction[0]) > 0.99, float(concept.accuracy)
        (True, 1.0)
    """
    check_choice("method", method, get_args(Method), call="concept_vector")
    penalty = checked_real("penalty", penalty, 0, call="concept_vector")
    if not all(jax.tree_util.all_leaves([a]) for a in (positives, negatives)):
        raise TypeError(
            "concept_vector takes two arrays of activations, (n, ...) and (m, ...), "
            f"and was given {type(positives).__name__} and {type(negatives).__name__}."
        )
    positives, negatives = jnp.asarray(positives), jnp.asarray(negatives)
    shape = positives.shape[1:]
    if not shape or shape != negatives.shape[1:]:
        raise ValueError(
            "concept_vector takes activations (n, ...) and (m, ...), and was given "
            f"{positives.shape} and {negatives.shape}."
        )
    n, m = len(positives), len(negatives)
    if min(n, m) < 2:
        raise ValueError(
            f"concept_vector needs two examples of each class, and was given {n} and "
            f"{m}."
        )
    wide = jnp.promote_types(jnp.result_type(positives, negatives), jnp.float32)
    a = jnp.concatenate([x.astype(wide) for x in (positives, negatives)])
    a = a.reshape(n + m, -1)
    t = jnp.arange(n + m) < n

    number = np.concatenate([np.arange(n), np.arange(m)])
    folds = jnp.asarray(number % min(_FOLDS, n, m))

    def fit(left_out: Any) -> Linear:
        return fitted(a, t, folds != left_out, method, penalty)

    lines = jax.lax.map(fit, jnp.arange(min(_FOLDS, n, m)))
    values = jax.vmap(lambda line: line(a))(lines)
    held_out = jnp.take_along_axis(values, folds[None], axis=0)[0]
    is_right = jnp.where(jnp.isnan(held_out), jnp.nan, (held_out > 0) == t)
    accuracy = (is_right[:n].mean(dtype=wide) + is_right[n:].mean(dtype=wide)) / 2
    whole = fit(-1)
    return ConceptVector(whole.coefficients.reshape(shape), -whole.intercept, accuracy)


def fitted(
    activations: Any, is_positive: Any, is_used: Any, method: Method, penalty: float
) -> Linear:
    """Returns a concept as a linear function that is positive on its side.

    Args:
        activations: activations of all examples, `(examples, d)`.
        is_positive: which of them show the concept, `(examples,)`.
        is_used: which of them the direction is fitted to, `(examples,)`.
        method: how the direction is fitted.
        penalty: the penalty on the coefficients of the two regressions.

    Returns:
        Coefficients of norm 1, the direction; the intercept is minus the threshold.
    """
    a, t = activations, is_positive
    sets = [(chosen & is_used).astype(a.dtype) for chosen in (t, ~t)]
    shares = [chosen / chosen.sum() for chosen in sets]
    if method == "pattern":
        plus, minus = (jnp.matmul(s, a, precision="highest") for s in shares)
        line = Linear(plus - minus, -((plus - minus) * (plus + minus)).sum() / 2)
    else:
        weights = (shares[0] + shares[1]) * len(a) / 2
        if method == "ridge":
            values = jnp.where(t, 1, -1).astype(a.dtype)
            line = ridge(a, values, weights, penalty=penalty)
        else:
            line = logistic(a, t, weights, penalty=penalty)
    length = jnp.linalg.norm(line.coefficients)
    return Linear(line.coefficients / length, line.intercept / length)
