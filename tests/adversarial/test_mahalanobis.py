"""Detection by the distance of features to every class."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.adversarial import fit_gaussians, mahalanobis
from tests import precision
from tests.compiled import compiled, compiled_once
from tests.oracles import attacks

RANDOM = np.random.default_rng(0)
W = RANDOM.normal(size=(4, 3))
X = RANDOM.normal(size=(23, 2, 5, 4))
LABELS = np.array([0, 2] * 11 + [2])  # there is no class 1


def model(w, x):
    """A site `tanh` with two axes of positions, and logits."""
    return jnp.tanh(jnp.asarray(x) @ w).mean(axis=(1, 2))


def features(x):
    return np.tanh(x @ W).mean(axis=(1, 2))


def fitted(batches, labels=LABELS, **options):
    return fit_gaussians(model, "tanh", W, batches, labels, **options)


def test_the_distance_is_that_of_the_paper():
    fit = fitted([X[:10], X[10:20], X[20:]])
    np.testing.assert_array_equal(fit.counts, [11, 0, 12])
    others = RANDOM.normal(size=(6, 2, 5, 4))
    expected = attacks.mahalanobis(features(X), LABELS, features(others))
    detect = compiled_once(mahalanobis(model, gaussians=fit))
    np.testing.assert_allclose(detect(W, others), expected, rtol=1e-9)
    detect(W, others + 0.1)
    rows = [detect_one(fit, others[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(np.concatenate(rows), expected[:2], rtol=1e-9)


def detect_one(fit, x):
    return mahalanobis(model, gaussians=fit)(W, x)


def test_neither_batches_nor_a_pause_change_what_is_fitted():
    whole = fitted([X])
    for batches in ([X[:7], X[7:14], X[14:21], X[21:]], [X[:1], X[1:]]):
        chex.assert_trees_all_close(fitted(batches), whole, rtol=1e-9, atol=1e-12)
    early = fitted([X[:1]], LABELS[:1])  # it knows of class 0 alone
    later = fitted([X[1:9], X[9:]], LABELS[1:], resume=early)
    chex.assert_trees_all_close(later, whole, rtol=1e-9, atol=1e-12)


def test_features_far_from_zero_lose_no_digits():
    """The sum of squares minus the squared mean would lose all of them."""
    x = RANDOM.normal(size=(40, 3)).astype(np.float32)
    labels = np.arange(40) % 2
    site = jax.named_scope("site")

    def shifted(v, x):
        with site:
            return jnp.asarray(x) + 10_000

    fit = fit_gaussians(shifted, "site", None, [x[:16], x[16:]], labels)
    deviations = (x + np.float32(10_000)).astype(float)
    for c in (0, 1):
        deviations[labels == c] -= deviations[labels == c].mean(axis=0)
    expected = deviations.T @ deviations / 40
    chex.assert_type(fit.scatter, jnp.float32)
    np.testing.assert_allclose(fit.covariance, expected, atol=2e-3)


def test_a_feature_that_never_varies_counts_nothing():
    x = RANDOM.normal(size=(30, 2))

    def dead(v, x):
        both = jnp.concatenate([jnp.asarray(x), jnp.zeros((len(x), 1))], axis=1)
        return jnp.tanh(both)

    fit = fit_gaussians(dead, "tanh", None, [x], np.zeros(30, int))
    expected = attacks.mahalanobis(np.tanh(x), np.zeros(30), np.tanh(x[:4]))
    detect = mahalanobis(dead, gaussians=fit)
    np.testing.assert_allclose(detect(None, x[:4]), expected, rtol=1e-8)


def test_a_step_brings_inputs_nearer():
    fit = fitted([X])
    others = 2 * RANDOM.normal(size=(5, 2, 5, 4))
    still = compiled(mahalanobis(model, gaussians=fit))
    moved = compiled(mahalanobis(model, gaussians=fit, step_size=1e-3))
    before, after = still(W, others), moved(W, others)
    assert (np.asarray(after) < np.asarray(before)).all()
    slope = jax.grad(lambda x: detect_one(fit, x).sum())(jnp.asarray(others))
    expected = still(W, others - 1e-3 * np.sign(slope))
    np.testing.assert_allclose(after, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (LABELS[:-1], ValueError, "hold 23 examples, and there are 22 labels"),
        (LABELS - 1, ValueError, "label -1 is negative"),
        (LABELS * 1.0, TypeError, r"one integer label .* given float64\[23\]"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(labels, error, message):
    with pytest.raises(error, match=message):
        fitted([X], labels)


def test_other_mistakes_are_errors():
    with pytest.raises(
        ValueError, match=r"what fit_gaussians\(\) returned for the same"
    ):
        fitted([X], resume="tanh")
    with pytest.raises(ValueError, match=r"One site is needed here, and .* matches"):
        fit_gaussians(model, "*", W, [X], LABELS)
    broken = X.copy()
    broken[2] = np.nan
    with pytest.raises(FloatingPointError, match="not a finite number for example 2"):
        fitted([broken])
    with pytest.raises(TypeError, match="takes what `fit_gaussians` returned"):
        mahalanobis(model, gaussians=None)
    with pytest.raises(ValueError, match="`step_size` must be a finite number"):
        mahalanobis(model, gaussians=fitted([X]), step_size=-1.0)


def test_gaussians_are_of_some_examples_and_of_the_same_width():
    model = lambda w, x: jnp.tanh(x @ w)  # noqa: E731
    x = np.random.default_rng(0).normal(size=(6, 3))
    fit = fit_gaussians(model, "tanh", jnp.eye(3), [x], np.arange(6) % 2)
    with pytest.raises(ValueError, match="no class of `gaussians` has an example"):
        mahalanobis(model, gaussians=dataclasses.replace(fit, counts=0 * fit.counts))
    narrow = jnp.eye(3)[:, :2]
    with pytest.raises(ValueError, match=r"has 2 features, and .* fitted to 3"):
        mahalanobis(model, gaussians=fit)(narrow, jnp.asarray(x))
    with pytest.raises(ValueError, match=r"has 2 features, and .* fitted to 3"):
        fit_gaussians(model, "tanh", narrow, [x], np.arange(6) % 2, resume=fit)


def test_products_keep_their_digits_on_every_device():
    model, x = (lambda w, x: jnp.tanh(w * x)), np.arange(12.0).reshape(4, 3) / 9
    fit = fit_gaussians(model, "tanh", 1.0, [x], [0, 0, 1, 1])
    detect = mahalanobis(model, gaussians=fit)
    assert precision.are_all_exact(detect, 1.0, jnp.asarray(x))
    assert precision.are_all_exact(lambda fit: fit.precision, fit)
