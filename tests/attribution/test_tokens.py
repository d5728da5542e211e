"""Tokens are explained at their embedding, where there is exactly one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import attribution
from tests.networks import functions as models

W, TOKENS, TARGET = models.token_weights(), models.tokens(), models.targets()
METHODS = {
    "lrp": attribution.lrp,
    "gradient": attribution.gradient,
    "integrated_gradients": attribution.integrated_gradients,
    "deep_lift": attribution.deep_lift,
}


@pytest.mark.parametrize("name", METHODS)
def test_the_only_embedding_need_not_be_named(name):
    method = METHODS[name]
    found = jax.jit(method(models.tagger))(W, TOKENS, TARGET)
    named = jax.jit(method(models.tagger, at="embed"))(W, TOKENS, TARGET)
    np.testing.assert_array_equal(found, named)
    assert found.shape == (*TOKENS.shape, W["embed"].shape[1])


def test_the_books_of_tokens_are_those_of_their_embedding():
    rules = ji.rules.epsilon_plus()
    found = ji.ledger(models.tagger, rules, W, TOKENS, TARGET)
    named = ji.ledger(models.tagger, rules, W, TOKENS, TARGET, at="embed")
    assert found.attributed == named.attributed


def test_methods_without_gradients_take_away_tokens():
    attribute = attribution.occlusion(models.tagger, size=1)
    assert attribute(W, TOKENS, TARGET).shape == TOKENS.shape


def two_tables(w, tokens):
    sums = jnp.take(w["embed"], tokens, axis=0) + w["other"][tokens]
    return sums.mean(1) @ w["head"]["w"]


def test_several_embeddings_are_an_error_that_names_them():
    w = {**W, "other": W["embed"][::-1]}
    for method in METHODS.values():
        with pytest.raises(ValueError, match=r"2 embeddings read them: embed, other"):
            method(two_tables)(w, TOKENS, TARGET)
    named = attribution.lrp(two_tables, at="other")(w, TOKENS, TARGET)
    assert np.abs(named).max() > 0


def test_images_are_no_tokens_even_if_a_table_is_looked_up():
    """Their values, not their numbers in a table, are what is asked about."""

    def model(w, images):
        return w["embed"][images].mean((1, 2)) @ w["head"]["w"]

    with pytest.raises(TypeError, match=r"inputs\.astype\(jnp\.float32\)"):
        attribution.gradient(model)(W, np.stack([TOKENS, TOKENS], 1), TARGET)


def test_integers_without_an_embedding_are_an_error():
    for method in METHODS.values():
        with pytest.raises(TypeError, match="only real numbers have a gradient"):
            method(models.one_hot_tagger)(W, TOKENS, TARGET)
