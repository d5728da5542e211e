r"""Label noise by a known law: which labels are wrong, and how they became wrong.

$y$ is the true label and $\tilde y$ the noisy one. The noise matrix is
$Q_{y \tilde y} = P(\tilde y \mid y)$; its rows add up to 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxinterp.checks import check_choice, checked_integer, checked_share, is_traced
from jaxinterp.data.examples import draw
from jaxinterp.keys import check_key
from jaxinterp.types import Key

Kind = Literal["symmetric", "pairflip", "instance"]

# The standard deviation of the rates of examples before they are truncated, as in the
# paper.
RATE_SPREAD = 0.1


class Mislabeled(NamedTuple):
    """Noisy labels and the truth about them.

    Attributes:
        labels: the noisy labels, some of them wrong.
        true_labels: the labels before the noise.
        is_corrupted: for each example, whether the two labels differ.
        noise_matrix: $Q$, `[true, noisy]`. Under instance-dependent noise, the mean of
            `probabilities` over the examples of each true class; a class without
            examples keeps its label.
        probabilities: for each example, the probability of every noisy label.
    """

    labels: Int[Array, " count"]
    true_labels: Int[Array, " count"]
    is_corrupted: Bool[Array, " count"]
    noise_matrix: Float[Array, "classes classes"]
    probabilities: Float[Array, "count classes"]

    @property
    def corrupted_indices(self) -> Int[np.ndarray, " corrupted"]:
        """The indices of the examples whose label is wrong, ascending."""
        return np.flatnonzero(np.asarray(self.is_corrupted))

    @property
    def joint(self) -> Float[Array | np.ndarray, "classes classes"]:
        r"""The joint distribution $P(y, \tilde y)$, `[true, noisy]`, of this set.

        A confident joint estimates it; its entries add up to 1.
        """
        classes = self.noise_matrix.shape[0]
        return self.noise_matrix * _one_hot(self.true_labels, classes).mean(0)[:, None]


def mislabeled(
    key: Key,
    labels: Any,
    *,
    rate: float = 0.2,
    kind: Kind = "symmetric",
    noise_matrix: Any = None,
    features: Any = None,
    classes: int | None = None,
) -> Mislabeled:
    r"""Corrupts labels by a known law.

    Class-conditional noise depends on the true label alone:

    - `"symmetric"`: with probability `rate` the label becomes another one, all equally
      likely, $Q_{y \tilde y} = r / (K - 1)$ off the diagonal;
    - `"pairflip"`: it becomes the next class, $Q_{y,\,y + 1 \bmod K} = r$;
    - `noise_matrix`: any other law.

    `"instance"` depends on the features $x$ too. Each example has a rate of its own,

    $$q \sim \mathcal N(r, 0.1^2) \text{ truncated to } [r - m, r + m],
    \qquad m = \min(r, 1 - r),$$

    and the wrong class is drawn from $\mathrm{softmax}(x^\top W_y / \lVert x \rVert)$
    over the classes but $y$, where $W$ is standard normal. Xia et al. truncate $q$ to
    [0, 1], which moves its mean away from $r$: 8 % of the labels would be wrong at
    $r = 0$. Our interval has $r$ in its middle, so $\mathbb E[q] = r$ for every $r$. We
    divide by the length of $x$, so that noise depends on its direction and not on its
    units.

    An ideal method finds `corrupted_indices`, and nothing else, and estimates
    `noise_matrix`. Labels that the noise happened to keep cannot be found;
    `probabilities` says how likely that is.

    Args:
        key: the random key of the data. Label `i` depends on `fold_in(key, i)`, the
            law, and nothing else.
        labels: the true labels, integers from 0 on.
        rate: the probability that a label becomes wrong; for `"instance"`, the mean of
            that probability.
        kind: how labels become wrong, unless there is a `noise_matrix`.
        noise_matrix: the probabilities $Q$, `[true, noisy]`; each row adds up to 1.
        features: finite numbers, one row of any shape for each example; needed for
            `"instance"` only. Under `jit` they are not checked.
        classes: how many classes there are; by default, as many as `noise_matrix` has,
            or one more than the largest label. Under `jit`, where labels are not known,
            it is needed.

    Returns:
        The noisy labels and the truth about them.

    Raises:
        TypeError: if there is no key, or labels are not integers.
        ValueError: if labels, rates, matrix and features do not fit one another, or
            features are not finite.

    Example:
        >>> noisy = mislabeled(jax.random.key(0), np.arange(100) % 3, kind="pairflip")
        >>> noisy.noise_matrix.round(1).tolist()  # doctest: +ELLIPSIS
        [[0.8..., 0.2..., 0.0], [0.0, 0.8..., 0.2...], [0.2..., 0.0, 0.8...]]
        >>> wrong = noisy.corrupted_indices
        >>> bool((noisy.labels[wrong] == (noisy.true_labels[wrong] + 1) % 3).all())
        True

    References:
        Han et al., 2018, section 4, for the class-conditional kinds
        [han2018coteaching]; Xia et al., 2020, algorithm 2, for the instance-dependent
        kind [xia2020part].
    """
    check_key("mislabeled", key)
    check_choice("kind", kind, get_args(Kind), call="mislabeled")
    rate = checked_share("rate", rate, call="mislabeled")
    true = _checked_labels(labels)
    if noise_matrix is not None:
        noise_matrix = _checked_matrix(noise_matrix)
        classes = noise_matrix.shape[0] if classes is None else classes
    number = _number_of_classes(true, classes)
    if noise_matrix is not None and noise_matrix.shape[0] != number:
        raise ValueError(
            f"The noise matrix is for {noise_matrix.shape[0]} classes, and there are "
            f"{number}."
        )
    if kind == "instance" and noise_matrix is None:
        rows = _checked_features(features, true.shape[0])
        probabilities = _instance_noise(key, true, rows, rate, number)
        members = _one_hot(true, number)
        noise_matrix = _mean_rows(members, probabilities)
    else:
        if noise_matrix is None:
            noise_matrix = _matrix(kind, rate, number)
        probabilities = noise_matrix[true]
    uniform = draw("mislabeled", _Uniform(), jax.random.fold_in(key, 0), true.shape[0])
    # The last bound is left out, so that rounding never leads beyond the last class.
    bounds = jnp.cumsum(probabilities, axis=1)[:, :-1]
    noisy = (uniform[:, None] >= bounds).sum(axis=1).astype(jnp.int32)
    return Mislabeled(noisy, true, noisy != true, noise_matrix, probabilities)


@dataclasses.dataclass(frozen=True)
class _Uniform:
    """Draws from [0, 1)."""

    def __call__(self, key: Key) -> Float[Array, ""]:
        return jax.random.uniform(key, (), jnp.float32)


@dataclasses.dataclass(frozen=True)
class _Rate:
    """Draws the rate of one example, a normal truncated symmetrically."""

    def __call__(self, key: Key, mean: Float[Array, ""]) -> Float[Array, ""]:
        reach = jnp.minimum(mean, 1 - mean)
        bound = reach / RATE_SPREAD
        draw = jax.random.truncated_normal(key, -bound, bound, (), jnp.float32)
        # Rounding must lead neither out of [0, 1] nor away from 0 and 1.
        return mean + jnp.clip(RATE_SPREAD * draw, -reach, reach)


def _matrix(kind: Kind, rate: float, classes: int) -> Float[Array, "classes classes"]:
    same = np.eye(classes)
    if kind == "symmetric":
        other = (1 - same) / (classes - 1)
    else:
        other = np.roll(same, 1, axis=1)
    return jnp.asarray((1 - rate) * same + rate * other, jnp.float32)


def _instance_noise(
    key: Key, true: Array, features: Array, rate: float, classes: int
) -> Float[Array, "count classes"]:
    """Returns, for each example, the probability of every noisy label."""
    mean = jnp.asarray(rate, jnp.float32)
    own_key = jax.random.fold_in(key, 1)
    rates = draw("mislabeled", _Rate(), own_key, true.shape[0], mean)[:, None]
    shape = (features.shape[1], classes, classes)
    directions = jax.random.normal(jax.random.fold_in(key, 2), shape, jnp.float32)
    # Divided by the largest entry first, or squares could leave the range of float32.
    largest = jnp.abs(features).max(axis=1, keepdims=True)
    features = features / jnp.where(largest > 0, largest, 1)
    length = jnp.linalg.norm(features, axis=1, keepdims=True)
    unit = features / jnp.where(length > 0, length, 1)
    scores = jnp.einsum("nd,dyk->nyk", unit, directions)
    scores = jnp.take_along_axis(scores, true[:, None, None], axis=1)[:, 0]
    is_true = _one_hot(true, classes) > 0
    wrong = jax.nn.softmax(jnp.where(is_true, -jnp.inf, scores), axis=1)
    return jnp.where(is_true, 1 - rates, rates * wrong)


def _mean_rows(members: Array, probabilities: Array) -> Float[Array, "classes classes"]:
    """Returns the mean law of each class; a class without examples keeps its label."""
    sizes = members.sum(0)[:, None]
    means = members.T @ probabilities / jnp.maximum(sizes, 1)
    return jnp.where(sizes > 0, means, jnp.eye(len(means), dtype=means.dtype))


def _one_hot(labels: Array, classes: int) -> Float[Array, "count classes"]:
    return jax.nn.one_hot(labels, classes, dtype=jnp.float32)


def _checked_labels(labels: Any) -> Int[Array, " count"]:
    if not is_traced(labels):
        labels = np.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"`labels` must be integers, and are {labels.dtype}.")
    if not is_traced(labels) and labels.size:
        bounds = np.iinfo(np.int32)
        invalid = labels[(labels < bounds.min) | (labels > bounds.max)]
        if invalid.size:
            raise ValueError(
                "`labels` are numbers of classes, from 0 on; one is "
                f"{invalid.flat[0]}.\n"
                "Write `np.unique(labels, return_inverse=True)[1]`."
            )
    array = jnp.asarray(labels)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            f"`labels` must have the shape (count,), and have {array.shape}."
        )
    return array.astype(jnp.int32)


def _number_of_classes(labels: Array, classes: int | None) -> int:
    if classes is not None:
        classes = checked_integer("classes", classes, 2, call="mislabeled")
    if is_traced(labels):
        if classes is None:
            raise ValueError("Under `jit`, `mislabeled` needs `classes=...`.")
        return classes
    low, high = int(labels.min()), int(labels.max())
    number = high + 1 if classes is None else classes
    if low < 0 or high >= number or number < 2:
        raise ValueError(
            f"Labels run from 0 to `classes` - 1, with at least 2 classes; these are "
            f"between {low} and {high}, and `classes` is {number}."
        )
    return number


def _checked_matrix(matrix: Any) -> Float[Array, "classes classes"]:
    array = np.asarray(matrix, np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"`noise_matrix` must be square, and has shape {array.shape}.")
    if (array < 0).any() or not np.allclose(array.sum(axis=1), 1, atol=1e-5):
        raise ValueError(
            "`noise_matrix` holds P(noisy | true): no entry is negative, and each row "
            f"adds up to 1. The rows add up to {array.sum(axis=1).round(4).tolist()}.\n"
            "Write `matrix.T` if its columns do, or `matrix / matrix.sum(1)[:, None]` "
            "if it holds counts."
        )
    return jnp.asarray(array, jnp.float32)


def _checked_features(features: Any, count: int) -> Float[Array, "count features"]:
    if features is None:
        raise ValueError(
            'kind="instance" needs `features=...`, one row for every label.'
        )
    array = jnp.asarray(features, jnp.float32)
    if array.ndim < 2 or array.shape[0] != count or not array.size:
        raise ValueError(
            f"`features` must have one row for each of the {count} labels, and has "
            f"shape {array.shape}."
        )
    array = array.reshape(count, -1)
    if not is_traced(array):
        invalid = np.flatnonzero(~np.isfinite(np.asarray(array)).all(axis=1))
        if invalid.size:
            raise ValueError(
                "`features` must be finite, as float32. Rows with NaN or infinity: "
                f"{invalid.size}, the first is {invalid[0]}. Leave these examples out, "
                "or write `np.nan_to_num(features)`."
            )
    return array
