r"""Detection by how far activations are from those of every class.

$h$ are the features of an example: the activation at a site, averaged over positions.
$\mu_c$ is the mean of class $c$, $\Sigma$ the covariance about these means.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.adversarial.detection import Detector
from jaxinterp.checks import checked_real, is_traced
from jaxinterp.loop.stream import first_invalid, over_stream
from jaxinterp.pytree import pytree, static
from jaxinterp.tracing.split import read_channels_last
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables

_multiply = functools.partial(jnp.matmul, precision="highest")


@pytree
class Gaussians:
    """One Gaussian for each class, all of the same covariance.

    Attributes:
        counts: the number of examples of each class, `(classes,)`.
        means: the mean of each class, `(classes, features)`.
        scatter: the sum of squared deviations from these means, `(features,
            features)`.
        at: the site whose activation has these means.
    """

    counts: Any
    means: Any
    scatter: Any
    at: Sites = static()

    @property
    def covariance(self) -> Any:
        """The covariance of the features about the mean of their class."""
        return self.scatter / self.counts.sum()

    @property
    def precision(self) -> Any:
        """The pseudo-inverse of the covariance; features that never vary count 0."""
        values, vectors = jnp.linalg.eigh(self.covariance)
        epsilon = jnp.finfo(values.dtype).eps
        is_kept = values > jnp.abs(values).max(initial=0) * len(values) * epsilon
        weights = jnp.where(is_kept, 1 / jnp.where(is_kept, values, 1), 0)
        return _multiply(vectors * weights[None], vectors.T)


def fit_gaussians(
    apply_fn: ApplyFn,
    at: Sites,
    variables: Variables,
    batches: Iterable[Inputs],
    labels: Any,
    *,
    resume: Gaussians | None = None,
) -> Gaussians:
    """Fits one Gaussian for each class to the activations of clean examples.

    Cost: one forward pass over the batches, as far as the site. Memory grows with the
    square of the number of features, not with that of examples.

    Args:
        apply_fn: the model.
        at: the site, one only, whose activation is `(batch, ..., features)`.
        variables: the weights of the model.
        batches: arrays of clean inputs, batch first; best those that the model was
            trained on.
        labels: the right class of each example of the batches, in their order,
            `(examples,)`.
        resume: the result of an earlier call for the same site, to go on from.

    Returns:
        The means and the common covariance. It does not depend on how the examples were
        divided into batches, up to rounding.

    Raises:
        AddressError: if the site does not exist.
        FloatingPointError: if a feature is not finite; the message names the example.
        TypeError: if a batch is not an array, labels are not integers, or arrays are
            traced.
        ValueError: if there are more or fewer labels than examples, a label is
            negative, `at` matches several sites, or `resume` is of another site or
            another number of features.

    References:
        Lee et al., 2018, eq. 1 [lee2018simple].

    Example:
        >>> model = lambda w, x: jnp.tanh(x * w)
        >>> batches = [np.array([[0.0], [0.2], [1.0]]), np.array([[1.4]])]
        >>> fit = fit_gaussians(model, "tanh", 1.0, batches, [0, 0, 1, 1])
        >>> fit.counts.tolist(), [round(m, 4) for m in fit.means[:, 0].tolist()]
        ([2.0, 2.0], [0.0987, 0.8235])
    """
    labels = _checked_labels(labels)
    _check_resume(resume, at)
    n_classes = int(labels.max(initial=0)) + 1
    if resume is not None:
        n_classes = max(n_classes, len(resume.counts))
    features_of = _features(apply_fn, at)

    @jax.jit
    def advance(constants: Any, state: Any, examples: Any, count: Any) -> Any:
        variables, padded = constants
        before, gaussians = state
        features = features_of(variables, examples)
        size = features.shape[0]
        classes = jax.lax.dynamic_slice(padded, (before,), (size,))
        is_real = jnp.arange(size) < count
        belongs = jax.nn.one_hot(classes, n_classes, dtype=features.dtype)
        belongs = belongs * is_real[:, None]
        finite = jnp.where(is_real[:, None], features, 0)
        invalid = first_invalid(~jnp.isfinite(finite).all(axis=1)[None], count)
        return (before + count, _with(gaussians, finite, belongs)), invalid

    def start(examples: Any) -> Any:
        size = examples.shape[0]
        padded = jnp.asarray(np.pad(labels, (0, size)))
        shape = jax.eval_shape(features_of, variables, examples)
        if resume is not None:
            _check_width(resume, shape.shape[1])
        gaussians = _empty(n_classes, shape, at, resume)

        def update(state: Any, examples: Any, count: Any) -> Any:
            return advance((variables, padded), state, examples, count)

        return update, (jnp.int32(0), gaussians)

    n_examples, gaussians = over_stream(
        "fit_gaussians",
        batches,
        start,
        constants=variables,
        invalid="not a finite number",
        name="fit_gaussians",
    )
    if int(n_examples) != len(labels):
        raise ValueError(
            f"fit_gaussians(): the batches hold {int(n_examples)} examples, and there "
            f"are {len(labels)} labels. Give one label for each example, in the order "
            "of the batches."
        )
    return gaussians


def _checked_labels(labels: Any) -> np.ndarray:
    values = np.asarray(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise TypeError(
            "fit_gaussians() takes one integer label for each example, (examples,), "
            f"and was given {values.dtype}{list(values.shape)}."
        )
    if values.size and values.min() < 0:
        raise ValueError(
            f"fit_gaussians(): label {values.min()} is negative; classes are 0, 1, ..."
        )
    return values.astype(np.int32)


def _check_resume(resume: Any, at: Sites) -> None:
    if resume is not None and not (isinstance(resume, Gaussians) and resume.at == at):
        raise ValueError(
            "`resume` is what fit_gaussians() returned for the same site, "
            f"{str(at)!r}, and is {getattr(resume, 'at', resume)!r}."
        )


def _check_width(gaussians: Gaussians, n_features: int) -> None:
    if gaussians.means.shape[1] != n_features:
        raise ValueError(
            f"The activation at {str(gaussians.at)!r} has {n_features} features, and "
            f"the Gaussians were fitted to {gaussians.means.shape[1]}.\nFit them to "
            "the same model."
        )


def _features(apply_fn: ApplyFn, at: Sites) -> Any:
    """The features of a batch at one site, `(batch, features)`."""
    read = read_channels_last(apply_fn, at)

    def features(variables: Variables, inputs: Inputs) -> Any:
        activation = read(variables, inputs)
        mean = activation.mean(axis=tuple(range(1, activation.ndim - 1)))
        return mean.astype(jnp.promote_types(mean.dtype, jnp.float32))

    return features


def _empty(
    n_classes: int, shape: Any, at: Sites, resume: Gaussians | None
) -> Gaussians:
    """The state before the first example, or that of an earlier pass."""
    if resume is not None:
        missing = n_classes - len(resume.counts)
        return dataclasses.replace(
            resume,
            counts=jnp.pad(resume.counts, (0, missing)),
            means=jnp.pad(resume.means, ((0, missing), (0, 0))),
        )
    n_features, dtype = shape.shape[1], shape.dtype
    counts, means = (
        jnp.zeros(n_classes, dtype),
        jnp.zeros((n_classes, n_features), dtype),
    )
    return Gaussians(counts, means, jnp.zeros((n_features, n_features), dtype), at)


def _with(gaussians: Gaussians, features: Any, belongs: Any) -> Gaussians:
    """The state after further examples, by the formula for two parts of a sample."""
    counts = belongs.sum(axis=0)
    means = _multiply(belongs.T, features) / jnp.maximum(counts, 1)[:, None]
    deviations = belongs.sum(axis=1, keepdims=True) * (
        features - _multiply(belongs, means)
    )
    total = gaussians.counts + counts
    shift = jnp.where(counts[:, None] > 0, means - gaussians.means, 0)
    share = counts / jnp.maximum(total, 1)
    between = (share * gaussians.counts)[:, None] * shift
    scatter = _multiply(deviations.T, deviations) + _multiply(shift.T, between)
    return dataclasses.replace(
        gaussians,
        counts=total,
        means=gaussians.means + share[:, None] * shift,
        scatter=gaussians.scatter + scatter,
    )


def mahalanobis(
    apply_fn: ApplyFn, *, gaussians: Gaussians, step_size: float = 0.0
) -> Detector:
    r"""Detects attacks by the distance of features to the nearest class.

    $$\min_c\; (h - \mu_c)^\top \Sigma^{+} (h - \mu_c)$$

    at $x - m\,\mathrm{sign}(\nabla_x)$ of this distance, which brings clean inputs
    nearer to their class than others. It is minus the confidence of the paper, at one
    site; scores of several sites are added up with weights that the paper fits to
    examples of an attack. An attack that knows of the detector can keep it low.

    Cost: a forward pass; with a step two more, and a gradient.

    Args:
        apply_fn: the model.
        gaussians: the classes, from `fit_gaussians`.
        step_size: the size $m$ of the step, in the units of the inputs.

    Returns:
        A function from a batch to the score of each example, in squared standard
        deviations; a higher one is more suspicious.

    Raises:
        TypeError: if `gaussians` are none.
        ValueError: if `step_size` is negative, or no class has an example; when
            called, if the site has another number of features.

    References:
        Lee et al., 2018, eqs. 2 and 3 [lee2018simple].

    Example:
        >>> model = lambda w, x: jnp.tanh(x * w)
        >>> x = np.array([[0.0], [0.2], [1.0], [1.4]])
        >>> fit = fit_gaussians(model, "tanh", 1.0, [x], [0, 0, 1, 1])
        >>> detect = mahalanobis(model, gaussians=fit)
        >>> bool(detect(1.0, jnp.array([[0.6]]))[0] > detect(1.0, x).max())
        True
    """
    if not isinstance(gaussians, Gaussians):
        raise TypeError(
            "mahalanobis() takes what `fit_gaussians` returned, and was given "
            f"{type(gaussians).__name__}."
        )
    step_size = checked_real("step_size", step_size, 0, call="mahalanobis")
    features_of = _features(apply_fn, gaussians.at)
    if not is_traced(gaussians) and not np.any(np.asarray(gaussians.counts)):
        raise ValueError(
            "mahalanobis: no class of `gaussians` has an example. Fit them to some, "
            "`fit_gaussians(apply_fn, at, variables, batches, labels)`."
        )
    precision = gaussians.precision
    is_class = gaussians.counts > 0

    def distance(variables: Variables, inputs: Inputs) -> Any:
        features = features_of(variables, inputs)
        _check_width(gaussians, features.shape[1])
        difference = features[:, None] - gaussians.means[None]
        squared = (_multiply(difference, precision) * difference).sum(axis=-1)
        return jnp.where(is_class[None], squared, jnp.inf).min(axis=1)

    def detect(variables: Variables, inputs: Inputs) -> Any:
        if step_size == 0:
            return distance(variables, inputs)
        slope = jax.grad(lambda x: distance(variables, x).sum())(inputs)
        nearer = jax.tree.map(lambda x, g: x - step_size * jnp.sign(g), inputs, slope)
        return distance(variables, nearer)

    return detect
