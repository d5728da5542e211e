"""Contrastive seeds: their values, and relevance that starts with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import deep_taylor, lrp
from jaxinterp.objectives import (
    contrastive_seed,
    log_probability,
    logit,
    output,
    relevance_seed,
    softmax_gradient_seed,
)
from tests.compiled import compiled
from tests.networks import functions as models

W, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
OUTPUTS = models.mlp(W, jnp.asarray(X))


def textbook(name):
    seeds, y = np.zeros(OUTPUTS.shape), np.asarray(OUTPUTS)
    for i, t in enumerate(TARGET):
        p = np.exp(y[i]) / np.exp(y[i]).sum()
        for j in range(y.shape[1]):
            if name == "contrastive":
                share = -y[i, t] / (y.shape[1] - 1)
                seeds[i, j] = y[i, t] if j == t else share
            else:
                seeds[i, j] = p[t] * (1 - p[t]) if j == t else -p[t] * p[j]
    return seeds


@pytest.mark.parametrize(
    ("seed", "name"),
    [(contrastive_seed, "contrastive"), (softmax_gradient_seed, "softmax")],
)
def test_relevance_is_the_sum_over_classes_of_what_starts_at_each(seed, name):
    expected = textbook(name)
    np.testing.assert_allclose(seed(logit, OUTPUTS, TARGET), expected, rtol=1e-12)
    np.testing.assert_allclose(expected.sum(axis=1), 0, atol=1e-12)

    @compiled
    def both(x):
        each = jax.vmap(lambda c: lrp(models.mlp)(W, x, c))(jnp.arange(4))
        return lrp(models.mlp, seed=seed)(W, x, TARGET), each

    received, each = both(X)
    shares = (expected / np.asarray(OUTPUTS)).T
    np.testing.assert_allclose(received, (shares[..., None] * each).sum(0), rtol=1e-8)


def test_a_probability_below_one_has_no_positive_logarithm_to_decompose():
    score = output(1, score=log_probability)
    received = deep_taylor(models.mlp, score=score)(W, X)
    np.testing.assert_array_equal(received, 0)


def test_the_default_is_the_score_and_one_class_has_no_others():
    plain = lrp(models.mlp)(W, X, TARGET)
    same = lrp(models.mlp, seed=relevance_seed)(W, X, TARGET)
    np.testing.assert_array_equal(plain, same)
    with pytest.raises(ValueError, match="one class against the others"):
        contrastive_seed(logit, jnp.ones((2, 1)), 0)
    with pytest.raises(ValueError, match="needs a target"):
        lrp(models.mlp, seed=contrastive_seed)(W, X)
