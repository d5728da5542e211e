"""Masks computed from the input take no relevance: nothing can go back from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Composite, Epsilon, Norm, epsilon_plus

X = jax.random.normal(jax.random.key(0), (2, 6))
W = jax.random.normal(jax.random.key(1), (6, 3))
TARGET = jnp.array([1, 2])


def _gated(w, x):
    return (x * (x > x.mean(axis=1, keepdims=True))) @ w


def _best_only(w, x):
    z = x @ w
    return z * jax.nn.one_hot(z.argmax(axis=1), 3, dtype=z.dtype)


def _matrix_of_masks(w, x):
    mask = (x[:, :, None] > x[:, None, :]).astype(x.dtype)
    return jnp.einsum("bij,bj->bi", mask, x) @ w


@pytest.mark.parametrize("model", [_gated, _best_only, _matrix_of_masks])
def test_relevance_adds_up_to_the_score(model):
    attribute = ji.attribution.lrp(model, composite=epsilon_plus(1e-12))
    found = attribute(W, X, TARGET).sum(axis=1)
    expected = ji.objectives.logit(model(W, X), TARGET)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_masked_tokens_keep_their_relevance():
    def model(v, tokens):
        e = v["embed"][tokens]
        return (e * (tokens != 0)[..., None].astype(e.dtype)).mean(axis=1) @ W

    variables = {"embed": jax.random.normal(jax.random.key(2), (5, 6))}
    tokens = jnp.array([[1, 2, 0], [3, 0, 4]])
    attribute = ji.attribution.lrp(model, composite=epsilon_plus(1e-12), at="embed")
    found = attribute(variables, tokens, TARGET)
    expected = ji.objectives.logit(model(variables, tokens), TARGET)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), expected, rtol=1e-4)
    np.testing.assert_array_equal(found[0, 2], 0)


@pytest.mark.parametrize("rule", [Norm(1e-12), Epsilon(1e-12)])
def test_a_choice_by_the_input_goes_back_through_the_chosen(rule):
    def model(w, x):
        return jnp.where(x @ w > 0, 2 * (x @ w), x @ w)

    found = ji.attribution.lrp(model, composite=Composite([("*", rule)]))(W, X, TARGET)
    expected = ji.objectives.logit(model(W, X), TARGET)
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=1e-5)


def test_a_gather_filled_with_negative_numbers_is_not_proven_nonnegative():
    def model(w, x):
        indices = jnp.array([0, 9, 2])
        taken = jnp.take(jax.nn.relu(x), indices, axis=1, mode="fill", fill_value=-3.0)
        return taken @ w[:3]

    def spelled(w, x):
        r = jax.nn.relu(x)
        fill = jnp.full_like(r[:, :1], -3.0)
        return jnp.concatenate([r[:, :1], fill, r[:, 2:3]], axis=1) @ w[:3]

    plus = Composite([(ji.of_role("dense"), ji.rules.ZPlus())]) + epsilon_plus()
    found, expected = (
        ji.attribution.lrp(f, composite=plus)(W, X, TARGET) for f in (model, spelled)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_stacking_is_a_move():
    def model(w, x):
        return jnp.stack([x, 2 * x], axis=1).sum(axis=1) @ w

    coverage = ji.plan(model, epsilon_plus(), W, X).coverage
    assert coverage == 1.0


def test_variables_may_hold_what_is_no_array():
    def model(v, x):
        return v["n"] * (x @ v["w"]) if v["mode"] == "linear" else x

    variables = {"w": W, "n": 3, "mode": "linear"}
    attribute = ji.attribution.integrated_gradients(model, steps=3, batch_size=1)
    found = attribute(variables, X, TARGET).sum(axis=1)
    expected = ji.objectives.logit(model(variables, X), TARGET)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_model_without_operations_can_be_explained():
    attribute = ji.attribution.integrated_gradients(lambda _, x: x)
    np.testing.assert_allclose(
        attribute(None, X, TARGET).sum(axis=1), ji.objectives.logit(X, TARGET)
    )


def test_an_address_inside_of_a_combined_selector_must_exist():
    lines = [(ji.at("nowhere") | ji.at("w"), Epsilon()), ("*", Epsilon())]
    with pytest.raises(ValueError, match="No site matches 'nowhere'"):
        ji.attribution.lrp(_gated, composite=Composite(lines))(W, X, TARGET)


def test_an_edit_that_is_no_function_is_an_error(unchecked):
    with pytest.raises(TypeError, match="must be a function of the activation"):
        ji.intervene(_gated, {"mul": "zero"})
