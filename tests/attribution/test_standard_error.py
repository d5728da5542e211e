"""Standard errors, against the scatter over many keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import (
    expected_gradients,
    gradient,
    kernel_shap,
    lime,
    permutation,
    rise,
    shapley,
    smooth,
    standard_error,
)
from tests.compiled import compiled, compiled_once
from tests.networks import functions as models

KEY = jax.random.key(7)
ARGS = models.mlp_weights(), models.vectors(), models.targets()
BACKGROUND = models.normal(5, 6, 5)
METHODS = {
    "shapley": shapley(models.mlp, samples=2),
    "rise": rise(models.mlp, samples=10, grid=3),
    "lime": lime(models.mlp, samples=20),
    "kernel_shap": kernel_shap(models.mlp, samples=16, segments=np.arange(5)),
    "expected_gradients": expected_gradients(
        models.mlp, background=BACKGROUND, samples=3
    ),
    "permutation": permutation(models.mlp, background=BACKGROUND, samples=2),
    "smooth": smooth(gradient(models.mlp), samples=2),
}


def test_it_is_the_formula_over_independent_keys():
    method = METHODS["shapley"]
    estimate = compiled_once(standard_error(method, repeats=6))
    mean, error = estimate(*ARGS, KEY)
    each = [method(*ARGS, jax.random.fold_in(KEY, k)) for k in range(6)]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-12)
    expected = np.std(each, axis=0, ddof=1) / 6**0.5
    np.testing.assert_allclose(error, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_scatter_of_the_mean_over_many_keys(name):
    estimate = standard_error(METHODS[name], repeats=4, batch_size=None)
    keys = jax.random.split(KEY, 300)
    run = compiled(jax.vmap(lambda key: estimate(*ARGS, key)))
    means, errors = map(np.asarray, run(keys))
    scatter = (means.var(0, ddof=1)).mean()
    # Squares are unbiased; of 300 keys, and 15 entries that are not independent.
    np.testing.assert_allclose((errors**2).mean(), scatter, rtol=0.2)


def test_a_method_that_does_not_draw_has_no_error():
    mean, error = standard_error(gradient(models.mlp), repeats=3)(*ARGS, KEY)
    np.testing.assert_array_equal(mean, gradient(models.mlp)(*ARGS))
    np.testing.assert_array_equal(error, 0)


def test_chunks_change_nothing():
    method = METHODS["shapley"]
    whole = compiled(standard_error(method, repeats=5, batch_size=None))(*ARGS, KEY)
    parts = standard_error(method, repeats=5, batch_size=2)(*ARGS, KEY)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_structures_and_dtypes_are_kept():
    def model(w, x):
        return x["a"] @ w + x["b"].sum(1, keepdims=True)

    x = {"a": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones((2, 1))}
    w = jnp.ones((3, 1), jnp.bfloat16)
    method = compiled(standard_error(shapley(model, samples=1), repeats=2))
    for result in method(w, x, 0, KEY):
        assert jax.tree.map(jnp.shape, result) == jax.tree.map(jnp.shape, x)
        assert result["a"].dtype == jnp.bfloat16
        assert result["b"].dtype == jnp.float64


def test_inputs_may_be_tokens():
    method = shapley(models.tagger, samples=1, baseline=5)
    args = models.token_weights(), models.tokens(), models.targets(), KEY
    mean, error = compiled(standard_error(method, repeats=2))(*args)
    assert mean.dtype == error.dtype == jnp.float64
    assert np.abs(error).max() > 0


def test_a_batch_is_a_loop():
    estimate = standard_error(METHODS["shapley"], repeats=3)
    w, x, target = ARGS
    whole = compiled(estimate)(*ARGS, KEY)
    alone = compiled(estimate)(w, x[1:2], target[1:2], KEY)
    np.testing.assert_allclose(whole[1][1:2], alone[1], rtol=1e-8)
    empty = compiled(estimate)(w, x[:0], target[:0], KEY)
    assert empty.mean.shape == empty.standard_error.shape == (0, 5)


def test_repeats_of_other_keys_do_not_depend_on_chunks():
    key = jax.random.key(0, impl="rbg")
    both = [
        compiled(standard_error(METHODS["shapley"], repeats=4, batch_size=size))
        for size in (None, 2)
    ]
    whole, parts = (estimate(*ARGS, key) for estimate in both)
    np.testing.assert_allclose(whole.mean, parts.mean, rtol=1e-8)


def test_it_has_a_slope_where_the_error_is_zero_and_keeps_what_is_undefined():
    def error(x):
        linear = shapley(lambda w, x: x.sum(1, keepdims=True), samples=2)
        return standard_error(linear, repeats=3)(None, x, 0, KEY).standard_error

    assert np.isfinite(
        compiled(jax.grad(lambda x: error(x).sum()))(jnp.ones((1, 3)))
    ).all()
    assert np.isnan(compiled(error)(jnp.array([[1.0, np.nan, 1.0]]))[0, 1])


def test_it_needs_a_key_and_numbers():
    with pytest.raises(ValueError, match="`repeats` must be an integer of at least 2"):
        standard_error(METHODS["lime"], repeats=1)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        standard_error(METHODS["lime"], batch_size=0)
    with pytest.raises(TypeError, match="needs one key"):
        standard_error(METHODS["lime"])(*ARGS)
    with pytest.raises(ValueError, match="needs a target"):
        standard_error(METHODS["lime"])(*ARGS[:2], key=KEY)
    with pytest.raises(TypeError, match="`inputs` must be an array with the batch"):
        standard_error(METHODS["lime"])(ARGS[0], 3.0, 0, KEY)
    with pytest.raises(TypeError, match=r"attribute\(variables, inputs, target\)"):
        standard_error(METHODS["lime"])(*ARGS, KEY, 3)
