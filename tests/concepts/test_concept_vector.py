"""Directions of concepts against the definitions, and where filters go astray."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.concepts import concept_vector
from tests.compiled import compiled
from tests.oracles import concepts as oracle

RNG = np.random.default_rng(0)


@functools.cache
def fit(method="pattern", penalty=1.0):
    return compiled(functools.partial(concept_vector, method=method, penalty=penalty))


def mixture(count):
    """a = (2t + e, e) and noise: e distracts, and the concept is the first axis."""
    t = RNG.integers(2, size=count)
    e = 2 * RNG.normal(size=count)
    a = np.stack([2 * t + e, e], axis=1) + 0.3 * RNG.normal(size=(count, 2))
    return a[t == 1], a[t == 0]


def test_a_pattern_is_the_covariance_with_the_concept():
    positives, negatives = RNG.normal(size=(7, 2, 3)) + 1, RNG.normal(size=(12, 2, 3))
    ours = fit()(positives, negatives)
    expected = oracle.pattern(positives.reshape(7, -1), negatives.reshape(12, -1))
    np.testing.assert_allclose(ours.direction.ravel(), expected, rtol=1e-12)
    along = [(s.reshape(len(s), -1) @ expected).mean() for s in (positives, negatives)]
    assert ours.threshold == pytest.approx(np.mean(along))


def test_a_pattern_finds_the_concept_and_a_filter_cancels_what_distracts():
    sets = mixture(4000)
    pattern, *filters = (
        fit(method)(*sets) for method in ("pattern", "ridge", "logistic")
    )
    assert pattern.direction[0] > 0.99
    for other in filters:
        np.testing.assert_allclose(other.direction[0], 0.715, atol=0.02)
        assert other.direction[1] < 0
        assert other.accuracy > 0.98 > 0.75 > pattern.accuracy


@pytest.mark.parametrize("method", ["ridge", "logistic"])
def test_regressions_weigh_both_classes_the_same(method):
    positives, negatives = (s[:15] for s in mixture(60))
    few = fit(method)(positives, negatives)
    many = fit(method, 2.0)(positives, np.tile(negatives, (3, 1)))
    np.testing.assert_allclose(few.direction, many.direction, atol=1e-8)
    assert few.threshold == pytest.approx(float(many.threshold), abs=1e-8)


def test_accuracy_is_of_examples_that_were_left_out():
    """With more features than examples, any two sets can be told apart."""
    a = RNG.normal(size=(8, 2, 20, 60))
    for method in ("pattern", "ridge"):
        mapped = compiled(jax.vmap(functools.partial(concept_vector, method=method)))
        assert 0.4 < mapped(a[:, 0], a[:, 1]).accuracy.mean() < 0.6
        assert (mapped(a[:, 0] + 3, a[:, 1]).accuracy == 1).all()


def test_many_sets_of_negatives_are_fitted_at_once():
    positives, negatives = RNG.normal(size=(6, 4)) + 1, RNG.normal(size=(3, 8, 4))
    mapped = jax.vmap(fit(), in_axes=(None, 0))(positives, negatives)
    for i in range(3):
        one = fit()(positives, negatives[i])
        np.testing.assert_allclose(mapped.direction[i], one.direction, rtol=1e-12)
    half = fit()(*(jnp.bfloat16(s) for s in (positives, negatives[0])))
    assert half.direction.dtype == jnp.float32
    same = fit()(positives, positives)
    assert np.isnan(same.direction).all()


def test_what_has_no_direction_is_an_error():
    a = RNG.normal(size=(5, 3))
    with pytest.raises(ValueError, match="`method` is 'svm'"):
        concept_vector(a, a, method="svm")  # pyright: ignore[reportArgumentType]  what is wrong
    with pytest.raises(ValueError, match=r"was given \(5, 3\) and \(5, 2\)"):
        concept_vector(a, a[:, :2])
    with pytest.raises(ValueError, match="two examples of each class, and was given 1"):
        concept_vector(a[:1], a)
    with pytest.raises(ValueError, match="`penalty` must be positive"):
        concept_vector(a, a + 1, method="logistic", penalty=0.0)
    with pytest.raises(ValueError, match="`penalty` must be"):
        concept_vector(a, a + 1, method="ridge", penalty=-1.0)


def test_activations_are_arrays():
    a = jnp.ones((3, 2))
    with pytest.raises(TypeError, match="two arrays of activations"):
        concept_vector({"a": a}, {"a": a})


def test_what_has_no_direction_has_no_accuracy():
    """It would look like chance."""
    a = jax.random.normal(jax.random.key(0), (10, 3))
    for wrong in (a.at[3, 0].set(jnp.nan), jnp.zeros((10, 3))):
        concept = concept_vector(wrong, jnp.zeros((10, 3)))
        assert np.isnan(concept.accuracy)
