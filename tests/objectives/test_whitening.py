"""Whitened directions, against the whitening of the activations themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.objectives.whitening import whitened

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(5, 5))
H = RNG.normal(size=(3, 8, 7, 5)) @ MIX
V = RNG.normal(size=(2, 5))


def test_the_dot_product_is_that_of_white_activations():
    flat = H.reshape(-1, 5)
    moment = flat.T @ flat / len(flat)
    values, vectors = np.linalg.eigh(moment)
    root = vectors @ np.diag(values**-0.5) @ vectors.T  # makes activations white
    white = flat @ root
    np.testing.assert_allclose(white.T @ white / len(flat), np.eye(5), atol=1e-12)
    found = np.asarray(whitened(V, H, ridge=0.0))
    np.testing.assert_allclose(flat @ found.T, white @ (V @ root).T, rtol=1e-9)
    assert whitened(V[0], H, ridge=0.0).shape == (5,)
    np.testing.assert_allclose(whitened(V[0], H, ridge=0.0), found[0], rtol=1e-12)


def test_a_large_ridge_leaves_the_direction():
    found = np.asarray(whitened(V[0], H, ridge=1e9))
    cosine = found @ V[0] / np.linalg.norm(found) / np.linalg.norm(V[0])
    assert cosine > 1 - 1e-12


def test_what_all_activations_share_counts_least():
    shared = np.array([10.0, 0, 0, 0, 0]) + 0.1 * RNG.normal(size=(500, 5))
    found = np.asarray(whitened(np.array([1.0, 0.01, 0, 0, 0]), shared, ridge=0.0))
    assert abs(found[1]) > abs(found[0])


def test_it_runs_under_jit_and_in_half_precision():
    plain = whitened(V, H)
    np.testing.assert_allclose(jax.jit(whitened)(V, H), plain, rtol=1e-9)
    half = whitened(jnp.asarray(V, jnp.bfloat16), jnp.asarray(H, jnp.bfloat16))
    assert half.dtype == jnp.float32  # a small covariance makes large directions
    np.testing.assert_allclose(half, plain, rtol=0.1, atol=0.05)
    tiny = whitened(jnp.ones(5, jnp.float16), jnp.asarray(1e-3 * H, jnp.float16))
    assert np.isfinite(tiny).all()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((V[:, :4], H), {}, ValueError, r"\(2, 4\) and \(3, 8, 7, 5\)"),
        ((V, H[0, 0, 0]), {}, ValueError, r"shapes \(2, 5\) and \(5,\)"),
        ((V, "h"), {}, TypeError, r"`activations` of whitened\(\) is an array"),
        ((V, H), {"ridge": -1.0}, ValueError, "`ridge` must be .*at least 0.* is -1"),
        ((V, H), {"ridge": "a"}, ValueError, "whitened: `ridge` must be .* is 'a'"),
        ((V, H[0, 0, :4]), {"ridge": 0.0}, ValueError, "4 activations do not tell"),
        ((V, 0 * H + 1), {"ridge": 0.0}, ValueError, "has no inverse"),
        ((V, 0 * H), {}, ValueError, "no activations other than zero"),
        ((V, H[:0]), {}, ValueError, "no activations other than zero"),
        ((V * np.nan, H), {}, ValueError, "the direction must be finite"),
        ((V, H * np.nan), {}, ValueError, "the activations must be finite"),
    ],
)
def test_what_cannot_be_whitened(arguments, options, error, message, unchecked):
    with pytest.raises(error, match=message):
        whitened(*arguments, **options)
