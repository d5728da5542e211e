"""Weighted ridge regression, against the normal equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxinterp.fit.linear import logistic, ridge
from tests.compiled import compiled
from tests.oracles import masking as oracle

RNG = np.random.default_rng(0)
Z, Y, W = RNG.normal(size=(20, 4)), RNG.normal(size=20), RNG.uniform(size=20)


@pytest.mark.parametrize("penalty", [0.0, 0.3, 100.0])
def test_it_solves_the_normal_equations(penalty):
    line = compiled(lambda y: ridge(Z, y, W, penalty=penalty))(Y)
    coefficients, intercept = oracle.ridge(Z, Y, W, penalty)
    np.testing.assert_allclose(line.coefficients, coefficients, rtol=1e-10)
    np.testing.assert_allclose(line.intercept, intercept, rtol=1e-10)


def test_several_values_are_fits_of_their_own():
    values = RNG.normal(size=(20, 2, 3))
    line = ridge(Z, values, W)
    assert line.coefficients.shape == (4, 2, 3)
    assert line.intercept.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = ridge(Z, values[:, i, j], W)
        np.testing.assert_allclose(line.coefficients[:, i, j], one.coefficients)
        np.testing.assert_allclose(line.intercept[i, j], one.intercept)


def test_without_weights_all_samples_count_alike():
    np.testing.assert_allclose(
        ridge(Z, Y).coefficients, ridge(Z, Y, np.ones(20)).coefficients
    )
    doubled = ridge(np.concatenate([Z, Z[:3]]), np.concatenate([Y, Y[:3]]))
    weights = np.ones(20)
    weights[:3] = 2
    np.testing.assert_allclose(doubled.coefficients, ridge(Z, Y, weights).coefficients)


def test_a_sample_of_no_weight_changes_nothing():
    weights = W.copy()
    weights[5] = 0
    other = Y.copy()
    other[5] = 1e6
    received, expected = ridge(Z, other, weights), ridge(Z, Y, weights)
    np.testing.assert_allclose(received.coefficients, expected.coefficients, rtol=1e-9)
    np.testing.assert_allclose(received.intercept, expected.intercept, rtol=1e-9)


def test_of_equal_fits_the_smallest_coefficients_are_returned():
    twins = np.concatenate([Z[:, :1], Z[:, :1]], axis=1)
    line = ridge(twins, 3 * Z[:, 0] + 1, W, penalty=0.0)
    np.testing.assert_allclose(line.coefficients, [1.5, 1.5], rtol=1e-10)
    few = ridge(Z[:2], Y[:2], penalty=0.0)
    np.testing.assert_allclose(Z[:2] @ few.coefficients + few.intercept, Y[:2])
    constant = ridge(np.ones((3, 2)), np.array([1.0, 2.0, 6.0]), penalty=0.0)
    np.testing.assert_array_equal(constant.coefficients, 0)
    np.testing.assert_allclose(constant.intercept, 3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_it_computes_in_single_precision_at_least_and_keeps_the_dtype(dtype):
    values = jnp.asarray(Y, dtype)
    line = ridge(Z > 0, values, jnp.asarray(W, dtype))
    assert line.coefficients.dtype == line.intercept.dtype == dtype
    y, w = (np.asarray(a, np.float64) for a in (values, jnp.asarray(W, dtype)))
    expected, _ = oracle.ridge((Z > 0).astype(float), y, w, 1.0)
    # half a unit in the last place of the dtype, and single precision before
    atol = float(jnp.finfo(dtype).eps) * np.abs(expected).max() + 1e-6
    np.testing.assert_allclose(line.coefficients.astype(float), expected, atol=atol)


def test_it_is_linear_in_the_values_and_has_that_slope():
    slope = jax.jacobian(lambda y: ridge(Z, y, W).coefficients)(Y)
    np.testing.assert_allclose(slope @ Y, ridge(Z, Y, W).coefficients, rtol=1e-10)


@pytest.mark.parametrize(
    ("args", "penalty", "message"),
    [
        ((Z, Y[:5], W), 1.0, "was given the shapes"),
        ((Z, Y, W[:5]), 1.0, "was given the shapes"),
        ((Y, Y, W), 1.0, "was given the shapes"),
        ((Z[:0], Y[:0]), 1.0, "needs a sample"),
        ((Z, Y, -W), 1.0, "not negative and not all 0"),
        ((Z, Y, 0 * W), 1.0, "not negative and not all 0"),
        ((Z, Y, W), -1.0, "`penalty` must be a finite number of at least 0"),
    ],
)
def test_what_says_nothing_is_an_error(args, penalty, message):
    with pytest.raises(ValueError, match=message):
        ridge(*args, penalty=penalty)


# --- Logistic regression --------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_logistic_regression_is_that_of_scikit_learn(penalty):
    labels = Z[:, 0] + RNG.normal(size=20) > 0
    fit = compiled(lambda z: logistic(z, labels, W, penalty=penalty))(Z)
    peer = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000)
    peer.fit(Z, labels, sample_weight=W)
    np.testing.assert_allclose(fit.coefficients, peer.coef_[0], atol=1e-6)
    np.testing.assert_allclose(fit.intercept, peer.intercept_[0], atol=1e-6)
    np.testing.assert_allclose(fit(Z), peer.decision_function(Z), atol=1e-5)


def test_logistic_regression_ends_where_its_slope_is_zero():
    """Also with classes that are separated by far, more features than samples."""
    z = 50 * RNG.normal(size=(8, 20))
    t = np.where(np.arange(8) < 3, 1.0, -1.0)
    fit = logistic(z, t > 0, penalty=0.1)
    beta, c = np.asarray(fit.coefficients), float(fit.intercept)
    pull = t / (1 + np.exp(t * (z @ beta + c)))
    np.testing.assert_allclose(z.T @ pull, 0.1 * beta, atol=1e-8)
    assert abs(pull.sum()) < 1e-8
    assert ((z @ beta + c) * t > 0).all()


def test_logistic_regression_needs_a_penalty_and_samples_that_fit():
    with pytest.raises(ValueError, match="`penalty` must be positive"):
        logistic(Z, Y > 0, penalty=0.0)
    with pytest.raises(ValueError, match="logistic takes a design"):
        logistic(Z, Y[:5] > 0)
    half = logistic(jnp.asarray(Z, jnp.bfloat16), Y > 0)
    assert half.coefficients.dtype == jnp.float32


def test_labels_are_booleans_and_weights_numbers():
    """Of labels 1 and -1 all would be true."""
    design = jnp.arange(8.0).reshape(4, 2)
    for wrong in (jnp.array([1, -1, 1, -1]), jnp.ones((4, 1), bool)):
        with pytest.raises(TypeError, match="one boolean for each sample"):
            logistic(design, wrong)
    with pytest.raises(ValueError, match="weights of samples are not negative"):
        ridge(design, jnp.ones(4), jnp.array([1.0, jnp.nan, 1.0, 1.0]))


def test_no_fit_is_made_of_no_values():
    line = ridge(jnp.arange(8.0).reshape(4, 2), jnp.ones((4, 0)))
    assert line.coefficients.shape == (2, 0)
